//! Looks for secrets in everything that a program leaves behind: as they are, and in the forms that texts take on the way.

use azure_core::base64;
use memchr::memmem;

/// A piece of a secret as short as this is still one; shorter ones happen by chance.
const PIECE_BYTES: usize = 12;
/// How much is shown around a find.
const SHOWN_BYTES: usize = 60;

/// What a program left behind, each with the place where it was.
#[derive(Debug, Default)]
pub(crate) struct Evidence(Vec<(String, Vec<u8>)>);

impl Evidence {
    pub(crate) fn add(&mut self, place: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((place.into(), bytes.into()));
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Whether there is anything from this place at all.
    pub(crate) fn is_from(&self, place: &str) -> bool {
        let mut places = self.0.iter().filter(|(found, _)| found.starts_with(place));
        places.any(|(_, bytes)| !bytes.is_empty())
    }

    /// The arguments of a running process, as everybody on the machine can read them.
    pub(crate) fn add_arguments_of(&mut self, pid: u32) {
        let arguments = if cfg!(target_os = "linux") {
            std::fs::read(format!("/proc/{pid}/cmdline")).unwrap()
        } else {
            let mut ps = std::process::Command::new("ps");
            let output = ps.args(["-ww", "-o", "args=", "-p", &pid.to_string()]);
            output.output().unwrap().stdout
        };
        assert!(!arguments.is_empty(), "process {pid} has ended");
        self.add("arguments", arguments);
    }
}

/// Texts that must not show up, with their names.
pub(crate) struct Secrets(Vec<Secret>);

struct Secret {
    name: String,
    forms: Vec<Form>,
}

struct Form {
    name: &'static str,
    bytes: Vec<u8>,
    /// Upper and lower case are the same.
    folded: bool,
}

impl Secrets {
    pub(crate) fn of<'a>(secrets: impl IntoIterator<Item = (&'static str, &'a str)>) -> Self {
        let mut found = Vec::new();
        for (name, text) in secrets {
            let pieces = [&text[..PIECE_BYTES], &text[text.len() - PIECE_BYTES..]];
            for (piece, text) in ["the beginning of ", "the end of "].iter().zip(pieces) {
                found.push(Secret {
                    name: format!("{piece}{name}"),
                    forms: forms(text.as_bytes()),
                });
            }
        }
        Self(found)
    }

    /// Each place that holds one of them in any form, once.
    pub(crate) fn find(&self, evidence: &Evidence) -> Vec<String> {
        let mut finds = Vec::new();
        for (place, bytes) in &evidence.0 {
            let readings = readings(bytes);
            for secret in &self.0 {
                let find = readings.iter().find_map(|reading| reading.find(secret));
                finds.extend(find.map(|find| format!("{place}: {}, {find}", secret.name)));
            }
        }
        finds
    }

    /// Fails the test if one of them is anywhere, or if a place that should have been looked at was not.
    #[track_caller]
    pub(crate) fn expect_nowhere_in(&self, evidence: &Evidence, places: &[&str]) {
        for place in places {
            assert!(evidence.is_from(place), "nothing was kept from {place}");
        }
        let finds = self.find(evidence);
        assert!(
            finds.is_empty(),
            "{} leaks:\n{}",
            finds.len(),
            finds.join("\n")
        );
    }

    /// Fails the test unless one of them is seen in each of these places: so the scanner sees there.
    #[track_caller]
    pub(crate) fn expect_everywhere_in(&self, evidence: &Evidence, places: &[&str]) {
        let finds = self.find(evidence);
        for place in places {
            let seen = finds.iter().any(|find| find.starts_with(place));
            assert!(seen, "not seen in {place}, only:\n{}", finds.join("\n"));
        }
    }
}

/// A text as it is, or with its percent signs resolved.
struct Reading {
    bytes: Vec<u8>,
    folded: Vec<u8>,
}

/// As it is, and with its percent signs resolved for as long as there are any, twice at most.
fn readings(bytes: &[u8]) -> Vec<Reading> {
    let mut readings = Vec::new();
    let mut next = Some(bytes.to_vec());
    while let Some(bytes) = next.take_if(|_| readings.len() < 3) {
        next = Some(percent_decoded(&bytes)).filter(|decoded| *decoded != bytes);
        let folded = bytes.to_ascii_lowercase();
        readings.push(Reading { bytes, folded });
    }
    readings
}

impl Reading {
    /// The form in which it holds the secret, and what is around.
    fn find(&self, secret: &Secret) -> Option<String> {
        secret.forms.iter().find_map(|form| {
            let bytes = if form.folded {
                &self.folded
            } else {
                &self.bytes
            };
            let at = memmem::find(bytes, &form.bytes)?;
            let end = self.bytes.len().min(at + SHOWN_BYTES);
            let shown = String::from_utf8_lossy(&self.bytes[at.saturating_sub(SHOWN_BYTES)..end]);
            Some(format!("{}: …{shown}…", form.name))
        })
    }
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok());
        let number = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let number = number.filter(|_| *first == b'%');
        decoded.push(number.unwrap_or(*first));
        rest = if number.is_some() {
            &behind[2..]
        } else {
            behind
        };
    }
    decoded
}

/// The forms in which a text may stand somewhere, but for percent signs.
fn forms(text: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    let mut add = |name, bytes: Vec<u8>, folded: bool| {
        let bytes = if folded {
            bytes.to_ascii_lowercase()
        } else {
            bytes
        };
        forms.push(Form {
            name,
            bytes,
            folded,
        });
    };
    add("as it is", text.to_vec(), true);
    add("url-decoded", percent_decoded(text), true);
    let json = serde_json::to_string(&String::from_utf8_lossy(text)).unwrap();
    let json = json.trim_matches('"');
    add("as JSON", json.as_bytes().to_vec(), true);
    add("as JSON", json.replace('/', "\\/").into_bytes(), true);
    let hexadecimal = in_numbers(text, "", |byte| format!("{byte:02x}"));
    add("in hexadecimal", hexadecimal, true);
    for separator in [",", ", "] {
        let numbers = in_numbers(text, separator, u8::to_string);
        add("as numbers", numbers, false);
    }
    for before in 0..3 {
        let (standard, url_safe) = in_base64(text, before);
        add("in base64", standard, false);
        add("in base64 for addresses", url_safe, false);
    }
    forms
}

fn in_numbers(text: &[u8], separator: &str, number: impl Fn(&u8) -> String) -> Vec<u8> {
    let numbers: Vec<_> = text.iter().map(number).collect();
    numbers.join(separator).into_bytes()
}

/// What is certain to stand in the base64 of a longer text that holds this one behind so many bytes (modulo 3).
fn in_base64(text: &[u8], before: usize) -> (Vec<u8>, Vec<u8>) {
    let whole = [&b"\0\0"[..before], text].concat();
    let digits = (before * 8).div_ceil(6)..whole.len() * 8 / 6;
    let cut = |encoded: String| encoded.as_bytes()[digits.clone()].to_vec();
    (
        cut(base64::encode(&whole)),
        cut(base64::encode_url_safe(&whole)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "k3y/M4rked+\"l34k\"=5ec4e7ca~42&é";

    #[track_caller]
    fn finds(text: impl Into<Vec<u8>>) -> usize {
        let mut evidence = Evidence::default();
        evidence.add("somewhere", text);
        Secrets::of([("a secret", SECRET)]).find(&evidence).len()
    }

    #[test]
    fn a_secret_is_seen_in_each_of_its_forms() {
        let debug = format!("{:?}", SECRET.as_bytes());
        let in_hexadecimal = in_numbers(SECRET.as_bytes(), "", |byte| format!("{byte:02X}"));
        let json = serde_json::json!({ "message": SECRET }).to_string();
        let url = reqwest::Url::parse_with_params("http://localhost/", [("api_key", SECRET)]);
        let url = url.unwrap().to_string();
        let again = reqwest::Url::parse_with_params("http://localhost/", [("url", &url)]);
        let encoded_again = again.unwrap().to_string();
        for text in [
            SECRET,
            &SECRET.to_uppercase().replace('É', "é"),
            &debug,
            &json,
            &json.replace('/', "\\/"),
            &serde_json::json!(SECRET.as_bytes()).to_string(),
            &url,
            &url.to_lowercase(),
            &encoded_again,
            std::str::from_utf8(&in_hexadecimal).unwrap(),
        ] {
            assert_eq!(finds(format!("before {text} after")), 2, "{text}");
        }
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}{SECRET}behind");
            assert_eq!(finds(base64::encode(&text)), 2, "{before}");
            assert_eq!(finds(base64::encode_url_safe(&text)), 2, "{before}");
        }
    }

    #[test]
    fn a_piece_of_a_secret_is_seen_and_another_text_is_not() {
        assert_eq!(finds(&SECRET[..PIECE_BYTES]), 1);
        assert_eq!(finds(&SECRET[SECRET.len() - PIECE_BYTES..]), 1);
        assert_eq!(finds(&SECRET[..PIECE_BYTES - 1]), 0);
        assert_eq!(finds("a quiet day, and nothing said"), 0);
        let signature = "c2lnbmF0%2BdXJl%2Fb2Y%3D";
        let secrets = Secrets::of([("a signature", signature)]);
        let mut evidence = Evidence::default();
        evidence.add("a header", "c2lnbmF0+dXJl/b2Y=");
        assert_eq!(secrets.find(&evidence).len(), 2);
    }
}

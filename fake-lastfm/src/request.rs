//! What a request asked for, read from its query string.

/// One request as the fake understood it. Predicates of faults see it, and the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// 1 for the first request since the start, counting every request.
    pub number: usize,
    /// When it came, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The method, in lower case.
    pub method: String,
    /// The user as it was sent; empty when it was not.
    pub user: String,
    /// The page; 1 when not given, 0 when not a number.
    pub page: i64,
    /// The limit; 50 when not given, 0 when not a number.
    pub limit: i64,
    /// The lower bound; `None` when not given or not a number.
    pub from: Option<i64>,
    /// The upper bound; `None` when not given or not a number.
    pub to: Option<i64>,
    /// Whether the long shape was asked for.
    pub extended: bool,
    /// Whether `format=json` was there.
    pub json: bool,
    /// The key; empty when not given. The fake knows only made-up keys, so that it may keep them.
    pub api_key: String,
    /// The header that names the program, if it came.
    pub user_agent: Option<String>,
}

impl RequestInfo {
    /// Whether the request is for this user, without regard to case.
    pub fn is_for(&self, user: &str) -> bool {
        self.user.to_lowercase() == user.to_lowercase()
    }

    /// Reads a query string. Of a repeated parameter the last one counts.
    pub(crate) fn read(
        query: &str,
        user_agent: Option<&str>,
        number: usize,
        at_ms: i64,
    ) -> RequestInfo {
        let mut request = RequestInfo {
            number,
            at_ms,
            method: String::new(),
            user: String::new(),
            page: 1,
            limit: 50,
            from: None,
            to: None,
            extended: false,
            json: false,
            api_key: String::new(),
            user_agent: user_agent.map(str::to_owned),
        };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            match name {
                "method" => request.method = value.to_lowercase(),
                "user" => request.user = value,
                "page" => request.page = value.parse().unwrap_or(0),
                "limit" => request.limit = value.parse().unwrap_or(0),
                "from" => request.from = value.parse().ok(),
                "to" => request.to = value.parse().ok(),
                "extended" => request.extended = value == "1",
                "format" => request.json = value == "json",
                "api_key" => request.api_key = value,
                _ => {}
            }
        }
        request
    }
}

/// Undoes percent-encoding; `+` is a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = after;
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None if first == b'+' => bytes.push(b' '),
            None => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::RequestInfo;

    #[test]
    fn percent_encoded_names_and_odd_numbers_are_read() {
        let query = "user=Bj%C3%B6rk+a%&from=-5&to=soon&page=x&method=User.GetRecentTracks";
        let request = RequestInfo::read(query, None, 1, 0);
        assert_eq!(request.user, "Björk a%");
        assert_eq!((request.from, request.to), (Some(-5), None));
        assert_eq!((request.page, request.limit), (0, 50));
        assert_eq!(request.method, "user.getrecenttracks");
    }
}

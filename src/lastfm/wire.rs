//! The JSON that Last.fm sends, in every shape that was ever recorded.
//!
//! The JSON is a mechanical conversion of XML, so one element may be an object or an array, text may be a
//! string or an object, and numbers are strings. Nothing here is judged; [`super::page`] does that.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A whole body: a page, or an error.
#[derive(serde::Deserialize)]
pub(super) struct Body<'a, T> {
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) message: Text<'a>,
    #[serde(default = "none", bound(deserialize = "T: Deserialize<'de>"))]
    pub(super) recenttracks: Option<RecentTracks<'a, T>>,
}

/// A body of `user.getInfo`, or an error.
#[derive(serde::Deserialize)]
pub(super) struct Profile<'a> {
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) message: Text<'a>,
    #[serde(default)]
    pub(super) user: Option<Account>,
}

/// What of an account matters here.
#[derive(serde::Deserialize)]
pub(super) struct Account {
    #[serde(default)]
    pub(super) playcount: Number,
}

fn none<T>() -> Option<T> {
    None
}

/// `recenttracks`, with its numbers in `@attr` or (2013-2014) beside the rows.
#[derive(serde::Deserialize)]
pub(super) struct RecentTracks<'a, T> {
    #[serde(default = "none", bound(deserialize = "T: Deserialize<'de>"))]
    pub(super) track: Option<T>,
    #[serde(borrow, rename = "@attr", default)]
    pub(super) attr: Option<Numbers<'a>>,
    #[serde(borrow, default)]
    user: Option<Text<'a>>,
    #[serde(default)]
    page: Number,
    #[serde(rename = "perPage", default)]
    per_page: Number,
    #[serde(rename = "totalPages", default)]
    total_pages: Number,
    #[serde(default)]
    total: Number,
}

impl<'a, T> RecentTracks<'a, T> {
    /// The numbers, wherever they stand.
    pub(super) fn numbers(&mut self) -> Option<Numbers<'a>> {
        self.attr.take().or_else(|| {
            Some(Numbers {
                user: self.user.take()?,
                page: self.page,
                per_page: self.per_page,
                total_pages: self.total_pages,
                total: self.total,
            })
        })
    }
}

/// The numbers of a page, as sent.
#[derive(serde::Deserialize)]
pub(super) struct Numbers<'a> {
    #[serde(borrow, default)]
    pub(super) user: Text<'a>,
    #[serde(default)]
    pub(super) page: Number,
    #[serde(rename = "perPage", default)]
    pub(super) per_page: Number,
    #[serde(rename = "totalPages", default)]
    pub(super) total_pages: Number,
    #[serde(default)]
    pub(super) total: Number,
}

/// One row.
#[derive(serde::Deserialize)]
pub(super) struct Row<'a> {
    #[serde(borrow, default)]
    pub(super) artist: Named<'a>,
    #[serde(borrow, default)]
    pub(super) album: Named<'a>,
    #[serde(borrow, default)]
    pub(super) name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) mbid: Text<'a>,
    #[serde(borrow, default)]
    pub(super) url: Text<'a>,
    #[serde(default)]
    pub(super) date: Option<Date>,
    #[serde(borrow, rename = "@attr", default)]
    pub(super) attr: Option<RowAttr<'a>>,
}

impl Row<'_> {
    /// The row of the track that is playing now: it comes on top of every page and counts nowhere.
    pub(super) fn is_now_playing(&self) -> bool {
        self.date.is_none()
            || self
                .attr
                .as_ref()
                .is_some_and(|attr| attr.nowplaying.0 == "true")
    }
}

#[derive(serde::Deserialize)]
pub(super) struct RowAttr<'a> {
    #[serde(borrow, default)]
    nowplaying: Text<'a>,
}

#[derive(serde::Deserialize)]
pub(super) struct Date {
    pub(super) uts: Number,
}

/// An artist or album: `{mbid, "#text"}`, with `extended=1` `{mbid, name}`, as plain text, or nothing.
#[derive(Default)]
pub(super) struct Named<'a> {
    pub(super) name: Text<'a>,
    pub(super) mbid: Text<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Named<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Fields<'a> {
            #[serde(borrow, rename = "#text", default)]
            text: Text<'a>,
            #[serde(borrow, default)]
            name: Text<'a>,
            #[serde(borrow, default)]
            mbid: Text<'a>,
        }
        struct NamedVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for NamedVisitor<'a> {
            type Value = Named<'a>;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an artist or album")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Named<'a>, A::Error> {
                let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
                let name = if fields.text.0.is_empty() {
                    fields.name
                } else {
                    fields.text
                };
                Ok(Named {
                    name,
                    mbid: fields.mbid,
                })
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Named<'a>, E> {
                Ok(Named {
                    name: Text(Cow::Borrowed(text)),
                    ..Named::default()
                })
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Named<'a>, E> {
                Ok(Named {
                    name: Text(Cow::Owned(text.to_owned())),
                    ..Named::default()
                })
            }
            fn visit_unit<E: Error>(self) -> Result<Named<'a>, E> {
                Ok(Named::default())
            }
        }
        deserializer.deserialize_any(NamedVisitor(PhantomData))
    }
}

/// Text that borrows from the body unless it holds an escape; nothing when it is null.
#[derive(Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for TextVisitor<'a> {
            type Value = Text<'a>;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_bool<E: Error>(self, truth: bool) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(truth.to_string())))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Text<'a>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_unit<E: Error>(self) -> Result<Text<'a>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

/// A whole number, as a string (usual) or as a number; absent when it is missing or null.
#[derive(Clone, Copy, Default)]
pub(super) struct Number(pub(super) Option<i64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a whole number, as a string or as a number")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.parse()
                    .map(|number| Number(Some(number)))
                    .map_err(|_| E::custom("not a whole number"))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                i64::try_from(number)
                    .map(|number| Number(Some(number)))
                    .map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(Some(number)))
            }
            fn visit_unit<E: Error>(self) -> Result<Number, E> {
                Ok(Number(None))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Rows: an array, one object (2011-2021, Libre.fm), or blank text for none.
pub(super) struct Rows<'a>(pub(super) Vec<Row<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Rows<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowsVisitor<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for RowsVisitor<'a> {
            type Value = Rows<'a>;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("rows")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows<'a>, A::Error> {
                let mut all = Vec::new();
                while let Some(row) = rows.next_element()? {
                    all.push(row);
                }
                Ok(Rows(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rows<'a>, A::Error> {
                Ok(Rows(vec![Row::deserialize(MapAccessDeserializer::new(
                    map,
                ))?]))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Rows<'a>, E> {
                if text.trim().is_empty() {
                    Ok(Rows(Vec::new()))
                } else {
                    Err(E::custom("text instead of rows"))
                }
            }
            fn visit_unit<E: Error>(self) -> Result<Rows<'a>, E> {
                Ok(Rows(Vec::new()))
            }
        }
        deserializer.deserialize_any(RowsVisitor(PhantomData))
    }
}

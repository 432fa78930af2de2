//! The members that objects in JSON Lines share: key, value, expiry.
//!
//! Reading is strict, because what is guessed wrong is stored wrong: a member that is unknown, missing, of another type, or
//! there twice is a failure.

use std::fmt;
use std::time::SystemTime;

use data_encoding::BASE64;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::json::moment;

/// What an object says of an entry.
#[derive(Debug, Default)]
pub(super) struct Members {
    key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) expires_at: Option<SystemTime>,
}

impl Members {
    /// Reads the value of the member with this name.
    pub(super) fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "key" | "key64" => set_once(&mut self.key, name, bytes(name, map.next_value()?)?),
            "value" | "value64" => set_once(&mut self.value, name, bytes(name, map.next_value()?)?),
            "expires" => set_once(&mut self.expires_at, name, map.next_value::<Moment>()?.0),
            _ => Err(de::Error::custom(format_args!("unknown member {name:?}"))),
        }
    }

    pub(super) fn key<E: de::Error>(&mut self) -> Result<Vec<u8>, E> {
        self.key.take().ok_or_else(|| E::custom("neither \"key\" nor \"key64\""))
    }

    pub(super) fn value<E: de::Error>(&mut self) -> Result<Vec<u8>, E> {
        self.value.take().ok_or_else(|| E::custom("neither \"value\" nor \"value64\""))
    }
}

/// The bytes that the text of a member stands for.
fn bytes<E: de::Error>(name: &str, text: String) -> Result<Vec<u8>, E> {
    if !name.ends_with("64") {
        return Ok(text.into_bytes());
    }
    let decoded = BASE64.decode(text.as_bytes());
    decoded.map_err(|error| E::custom(format_args!("{name:?} is not base64: {error}")))
}

/// Refuses a member that is there twice.
pub(super) fn set_once<T, E: de::Error>(place: &mut Option<T>, name: &str, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom(format_args!("a second {:?}", name.trim_end_matches("64")))),
    }
}

/// A number of microseconds since 1970.
struct Moment(SystemTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(MomentVisitor).map(Self)
    }
}

struct MomentVisitor;

impl Visitor<'_> for MomentVisitor {
    type Value = SystemTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of microseconds since 1970")
    }

    fn visit_u64<E: de::Error>(self, micros: u64) -> Result<SystemTime, E> {
        moment(micros).ok_or_else(|| E::custom("the clock of this system does not reach that far"))
    }
}

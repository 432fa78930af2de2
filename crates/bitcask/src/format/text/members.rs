//! The members of a line, whatever its syntax, and the record that they make: read strictly, since the checksum fits.

use std::borrow::Cow;

use data_encoding::BASE64;

use crate::format::Defect;
use crate::format::checksum::checksum;
use crate::format::codec::Record;
use crate::format::compression::Algorithm;
use crate::format::payload;
use crate::format::record::{KEY_MAX, Kind, RecordHeader};

pub(super) const CRC: &str = "crc";
pub(super) const TIMESTAMP: &str = "timestamp";
pub(super) const KIND: &str = "kind";
pub(super) const EXPIRES: &str = "expires";
pub(super) const BATCH: &str = "batch";
pub(super) const COMPRESSION: &str = "compression";
pub(super) const KEY: &str = "key";
pub(super) const KEY64: &str = "key64";
pub(super) const VALUE: &str = "value";
pub(super) const VALUE64: &str = "value64";

/// What a kind that may be ignored is called in front of its number.
const IGNORABLE: &str = "ignorable ";

/// What a member says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    Number(u64),
    Flag(bool),
    Text(Cow<'a, str>),
    /// Any of them: in CSV all look alike.
    Word(Cow<'a, str>),
}

pub(super) type Member<'a> = (Cow<'a, str>, Scalar<'a>);

/// The members of a line that were not asked for yet.
pub(super) struct Members<'a>(pub(super) Vec<Member<'a>>);

impl<'a> Members<'a> {
    fn take(&mut self, name: &str) -> Option<Scalar<'a>> {
        let index = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.swap_remove(index).1)
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, Defect> {
        let number = match self.take(name) {
            None => return Ok(None),
            Some(Scalar::Number(number)) => Some(number),
            Some(Scalar::Word(word)) => word.parse().ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| Defect::damaged(format!("the member \"{name}\" is no number")))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Defect> {
        match self.take(name) {
            None => Ok(None),
            Some(Scalar::Text(text) | Scalar::Word(text)) => Ok(Some(text)),
            Some(_) => Err(Defect::damaged(format!("the member \"{name}\" is no text"))),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, Defect> {
        match self.take(name) {
            None => Ok(false),
            Some(Scalar::Flag(flag)) => Ok(flag),
            Some(Scalar::Word(word)) if word == "true" => Ok(true),
            Some(_) => Err(Defect::damaged(format!("the member \"{name}\" is not true"))),
        }
    }

    /// By what the value is compressed, which only a value of a user's can be.
    fn compression(&mut self, kind: Kind) -> Result<Option<Algorithm>, Defect> {
        if !matches!(kind, Kind::Value | Kind::Ignorable(_)) {
            return Ok(None);
        }
        let Some(name) = self.text(COMPRESSION)? else { return Ok(None) };
        let unknown = || Defect::newer(format!("the compression \"{name}\""));
        Algorithm::from_name(&name).map(Some).ok_or_else(unknown)
    }

    /// The bytes of a member that is text, or base64 under the second name.
    fn bytes(&mut self, name: &str, name64: &str) -> Result<Option<Vec<u8>>, Defect> {
        match (self.text(name)?, self.text(name64)?) {
            (Some(_), Some(_)) => Err(Defect::damaged(format!("both \"{name}\" and \"{name64}\""))),
            (Some(text), None) => Ok(Some(text.into_owned().into_bytes())),
            (None, Some(text)) => {
                let bytes = BASE64.decode(text.as_bytes());
                bytes
                    .map(Some)
                    .map_err(|error| Defect::damaged(format!("\"{name64}\" is no base64: {error}")))
            }
            (None, None) => Ok(None),
        }
    }

    /// Refuses members that nobody has asked for.
    pub(super) fn finish(self) -> Result<(), Defect> {
        const KNOWN: [&str; 10] =
            [CRC, TIMESTAMP, KIND, EXPIRES, BATCH, COMPRESSION, KEY, KEY64, VALUE, VALUE64];
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) if KNOWN.contains(&&**name) => {
                Err(Defect::damaged(format!("the member \"{name}\" does not belong here, or is there twice")))
            }
            Some((name, _)) => Err(Defect::newer(format!("the member \"{name}\" of a line"))),
        }
    }
}

pub(super) fn kind_name(kind: Kind) -> Cow<'static, str> {
    match kind {
        Kind::Ignorable(number) => Cow::Owned(format!("{IGNORABLE}{number}")),
        kind => Cow::Borrowed(kind.name()),
    }
}

fn kind_of(name: &str) -> Result<Kind, Defect> {
    let kinds = [
        Kind::Value,
        Kind::Tombstone,
        Kind::BatchEnd,
        Kind::SyncMarker,
        Kind::CloseMarker,
        Kind::Footer,
        Kind::Link,
    ];
    let ignorable = || Kind::ignorable(name.strip_prefix(IGNORABLE)?.parse().ok()?);
    kinds
        .into_iter()
        .find(|kind| kind.name() == name)
        .or_else(ignorable)
        .ok_or_else(|| Defect::newer(format!("record kind \"{name}\"")))
}

/// Whether a line whose kind has this name is the log's own, or the header of the file.
pub(super) fn is_of_log(kind: &str) -> bool {
    kind == super::header::KIND || kind_of(kind).is_ok_and(|kind| payload::fields(kind).is_some())
}

/// The record that the members of a line make.
pub(super) fn record(members: Vec<Member<'_>>) -> Result<Record, Defect> {
    let mut members = Members(members);
    let missing = |name: &str| Defect::damaged(format!("a line without the member \"{name}\""));
    members.take(CRC);
    let kind = kind_of(&members.text(KIND)?.ok_or_else(|| missing(KIND))?)?;
    let timestamp = members.number(TIMESTAMP)?.ok_or_else(|| missing(TIMESTAMP))?;
    let (expiry, in_batch) = (members.number(EXPIRES)?, members.flag(BATCH)?);
    let compression = members.compression(kind)?;
    let (key, value) = match payload::fields(kind) {
        Some(fields) => {
            let mut payload = Vec::new();
            for field in fields {
                let number = members.number(field.0)?.ok_or_else(|| missing(field.0))?;
                if !payload::append(field, number, &mut payload) {
                    return Err(Defect::damaged(format!("the member \"{}\" is too large", field.0)));
                }
            }
            (Vec::new(), payload)
        }
        None => {
            let key = members.bytes(KEY, KEY64)?.unwrap_or_default();
            let value = match kind {
                Kind::Tombstone => None,
                _ => members.bytes(VALUE, VALUE64)?,
            };
            if key.len() > KEY_MAX || key.is_empty() && kind.has_key() {
                return Err(Defect::damaged("a key of a length that no key has"));
            }
            (key, value.unwrap_or_default())
        }
    };
    members.finish()?;
    let header = RecordHeader {
        kind,
        timestamp,
        expiry,
        in_batch,
        compression,
        key_size: u16::try_from(key.len()).unwrap_or(u16::MAX),
        value_size: u32::try_from(value.len()).map_err(|_| Defect::damaged("a value of 4 GiB or more"))?,
        value_crc: checksum(&value),
    };
    Ok(Record::from_parts(header, key, &value))
}

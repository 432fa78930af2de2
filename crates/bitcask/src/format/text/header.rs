//! The header of a text file: its first line, in CSV behind the line with the names of the columns.
//!
//! The checksum of this one line begins without a salt, for the line tells it. A member that this version does not know
//! makes it refuse the file; so does another version, which is believed before the checksum.

use data_encoding::HEXLOWER;

use super::members::{self, Members};
use super::{Syntax, csv, json};
use crate::format::checksum::checksum;
use crate::format::file_header::{FileHeader, INPUTS_MAX, LogFormat, StoreId};
use crate::format::position::FileId;
use crate::format::{Defect, VERSION};

/// What the header's line has for a kind.
pub(super) const KIND: &str = "file header";

const FORMAT: &str = "format";
const STORE: &str = "store";
const FILE: &str = "file";
const SALT: &str = "salt";
const INPUTS: &str = "inputs";

/// No header takes more bytes than this.
pub(crate) const LEN_MAX: usize = 1024 + 21 * INPUTS_MAX;

impl Syntax {
    fn column_line(self) -> &'static [u8] {
        match self {
            Self::Json => b"",
            Self::Csv => csv::COLUMN_LINE,
        }
    }

    /// What stands between the checksum and the number of the version.
    fn before_version(self) -> &'static [u8] {
        match self {
            Self::Json => b",\"kind\":\"file header\",\"version\":",
            Self::Csv => b",,file header,,,,,version=",
        }
    }
}

/// Whether `bytes` hold all of the header that they begin with.
pub(crate) fn is_whole(syntax: Syntax, bytes: &[u8]) -> bool {
    bytes.get(syntax.column_line().len()..).is_some_and(|line| super::line_len(line).is_some())
}

pub(crate) fn encode(syntax: Syntax, header: &FileHeader) -> Vec<u8> {
    let inputs: Vec<String> = header.inputs.iter().map(ToString::to_string).collect();
    let mut texts = vec![
        (FORMAT, header.format.name().to_owned()),
        (STORE, HEXLOWER.encode(&header.store.0)),
        (FILE, header.id.to_string()),
        (SALT, format!("{:016x}", header.salt)),
    ];
    if !inputs.is_empty() {
        texts.push((INPUTS, inputs.join(",")));
    }
    let mut bytes = syntax.column_line().to_vec();
    let start = bytes.len();
    syntax.begin(&mut bytes);
    match syntax {
        Syntax::Json => {
            bytes.extend_from_slice(syntax.before_version());
            bytes.extend_from_slice(VERSION.to_string().as_bytes());
            for (name, text) in &texts {
                match *name {
                    FILE => json::append_number(name, header.id.0, &mut bytes),
                    _ => json::append_text(name, text, &mut bytes),
                }
            }
            json::append_log(&[], &mut bytes);
        }
        Syntax::Csv => {
            let mut words = Vec::new();
            csv::append_word("version", &VERSION.to_string(), &mut words);
            for (name, text) in &texts {
                csv::append_word(name, text, &mut words);
            }
            bytes.extend_from_slice(b",,file header,,");
            csv::append_log(&words, &mut bytes);
        }
    }
    let line = &mut bytes[start..];
    let crc = checksum(&line[syntax.covered_start()..line.len() - 1]);
    syntax.seal(line, crc);
    bytes
}

/// Decodes the header at the front of `bytes`, which may go on behind it; also gives its length.
pub(crate) fn decode(syntax: Syntax, bytes: &[u8]) -> Result<(FileHeader, usize), Defect> {
    let rest = bytes.strip_prefix(syntax.column_line());
    let rest = rest.ok_or_else(|| Defect::damaged("it does not begin with the names of the columns"))?;
    let stored =
        syntax.stored_crc(rest).ok_or_else(|| Defect::damaged("it does not begin with a file header"))?;
    let covered = &rest[syntax.covered_start()..];
    refuse_other_version(syntax, covered)?;
    let len = super::line_len(rest).ok_or_else(|| Defect::damaged("it ends within its header"))?;
    let line = &rest[..len];
    if checksum(&line[syntax.covered_start()..len - 1]) != stored {
        return Err(Defect::damaged("the file header does not fit its checksum"));
    }
    let header = header(Members(syntax.members(line)?))?;
    Ok((header, syntax.column_line().len() + len))
}

/// A later version may lay the line out anew, so its number is believed before the checksum.
fn refuse_other_version(syntax: Syntax, covered: &[u8]) -> Result<(), Defect> {
    let Some(version) = covered.strip_prefix(syntax.before_version()) else { return Ok(()) };
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match std::str::from_utf8(&version[..digits]).ok().and_then(|digits| digits.parse::<u32>().ok()) {
        Some(VERSION) | None => Ok(()),
        Some(0) => Err(Defect::damaged("version 0 of the file format, which never was")),
        Some(version) => Err(Defect::newer(format!("version {version} of the file format"))),
    }
}

fn header(mut members: Members<'_>) -> Result<FileHeader, Defect> {
    let broken = |name: &str| Defect::damaged(format!("the file header has no \"{name}\" that could be one"));
    members.text(members::CRC)?;
    if members.text(members::KIND)?.as_deref() != Some(KIND) {
        return Err(broken(members::KIND));
    }
    if members.number("version")? != Some(u64::from(VERSION)) {
        return Err(broken("version"));
    }
    let format = members.text(FORMAT)?.ok_or_else(|| broken(FORMAT))?;
    let format =
        LogFormat::from_name(&format).ok_or_else(|| Defect::newer(format!("the log format \"{format}\"")))?;
    let store = members.text(STORE)?.and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
    let store = store.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| broken(STORE))?;
    let id = members.number(FILE)?.ok_or_else(|| broken(FILE))?;
    let salt = members.text(SALT)?.filter(|hex| hex.len() == 16);
    let salt = salt.and_then(|hex| u64::from_str_radix(&hex, 16).ok()).ok_or_else(|| broken(SALT))?;
    let inputs = match members.text(INPUTS)? {
        None => Vec::new(),
        Some(ids) => ids
            .split(',')
            .map(|id| id.parse().map(FileId))
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|ids| ids.len() <= INPUTS_MAX)
            .ok_or_else(|| broken(INPUTS))?,
    };
    members.finish()?;
    Ok(FileHeader { format, store: StoreId(store), id: FileId(id), salt, inputs })
}

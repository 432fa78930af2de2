//! What is not a record: headers, payloads, hint files, manifests.

use super::Choice;
use super::seal;
use crate::format::batch::BatchEnd;
use crate::format::file_header::{FileHeader, INPUTS_MAX};
use crate::format::footer::Footer;
use crate::format::hint::{self, HintEntry, HintHeader};
use crate::format::manifest::Manifest;
use crate::format::position::LogPosition;
use crate::format::text::header::LEN_MAX;

/// A choice, then the front of a data file.
pub(super) fn file_header(bytes: &[u8]) {
    let Some((choice, rest)) = Choice::split(bytes) else { return };
    let front = if choice.seals { seal::file_header(choice.format, rest) } else { rest.to_vec() };
    let needed = FileHeader::len_max(choice.format, &front);
    assert!(needed <= front.len().max(LEN_MAX), "a header asks for {needed} bytes");
    let Ok((header, len)) = FileHeader::decode(choice.format, &front) else { return };
    assert!(len <= front.len() as u64, "it is longer than what was decoded");
    assert!(header.inputs.len() <= INPUTS_MAX && header.format == choice.format);
    let encoded = header.encode();
    let again = FileHeader::decode(choice.format, &encoded).expect("what is encoded decodes");
    assert_eq!(again, (header, encoded.len() as u64));
}

/// The payload of any of the log's own records.
pub(super) fn payload(bytes: &[u8]) {
    if let Ok(footer) = Footer::decode(bytes) {
        assert_eq!(footer.encode(), bytes);
    }
    if let Ok(end) = BatchEnd::decode(bytes) {
        assert_eq!(end.encode(), bytes);
    }
    if let Some(position) = LogPosition::decode(bytes) {
        assert_eq!(position.encode(), bytes);
    }
}

/// A choice, then a hint file.
pub(super) fn hint(bytes: &[u8]) {
    let Some((choice, rest)) = Choice::split(bytes) else { return };
    check_entries(rest);
    let mut file = rest.to_vec();
    if choice.seals {
        seal::hint(&mut file);
    }
    let Some(len) = file.first_chunk().and_then(HintHeader::encoded_len) else { return };
    let Some((front, mut body)) = file.split_at_checked(len) else { return };
    let Ok(header) = HintHeader::decode(front) else { return };
    assert_eq!(header.len(), len);
    assert_eq!(HintHeader::decode(&header.encode()), Ok(header.clone()));
    for section in header.sections {
        let Some((entries, rest)) =
            usize::try_from(section.len).ok().and_then(|len| body.split_at_checked(len))
        else {
            return;
        };
        body = rest;
        check_entries(entries);
    }
}

fn check_entries(section: &[u8]) {
    let entries: Vec<Option<HintEntry<'_>>> = hint::entries(section).collect();
    let mut encoded = Vec::new();
    let whole: Vec<HintEntry<'_>> = entries.iter().copied().map_while(|entry| entry).collect();
    assert!(whole.len() + 1 >= entries.len(), "nothing follows an entry that does not decode");
    whole.iter().for_each(|entry| entry.encode(&mut encoded));
    // A length has several forms, of which one is written.
    assert!(hint::entries(&encoded).eq(whole.iter().copied().map(Some)), "what is encoded decodes");
    assert!(entries.len() > whole.len() || encoded.len() == section.len(), "bytes are left over");
}

/// A choice, then a manifest.
pub(super) fn manifest(bytes: &[u8]) {
    let Some((choice, rest)) = Choice::split(bytes) else { return };
    let mut file = rest.to_vec();
    if choice.seals {
        seal::manifest(&mut file);
    }
    let Ok(manifest) = Manifest::decode(&file) else { return };
    assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
}

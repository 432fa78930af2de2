//! Keys and values are bytes; people and files write them as text. The ways between the two live here.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::IsTerminal;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::failure::Failure;

/// How keys and values are written in arguments, on standard input and on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    Plain,
    Hex,
    Base64,
}

impl Encoding {
    /// The bytes that an argument stands for. `what` names the argument in the failure.
    pub(crate) fn decode_argument(self, what: &str, argument: &OsStr) -> Result<Vec<u8>, Failure> {
        let bytes = os_bytes(argument)
            .ok_or_else(|| Failure::Usage(format!("{what} is not UTF-8: give it with --hex or --base64")))?;
        self.decode(&bytes).map_err(|reason| Failure::Usage(format!("{what} is not {self}: {reason}")))
    }

    /// The bytes that the content of a file or of standard input stands for. Encoded text may be broken into lines.
    pub(crate) fn decode_content(self, place: &str, mut content: Vec<u8>) -> Result<Vec<u8>, Failure> {
        if self == Self::Plain {
            return Ok(content);
        }
        content.retain(|byte| !byte.is_ascii_whitespace());
        self.decode(&content).map_err(|reason| Failure::Input {
            place: place.to_owned(),
            what: format!("the value is not {self}: {reason}"),
        })
    }

    fn decode(self, text: &[u8]) -> Result<Vec<u8>, data_encoding::DecodeError> {
        match self {
            Self::Plain => Ok(text.to_vec()),
            Self::Hex => HEXLOWER_PERMISSIVE.decode(text),
            Self::Base64 => BASE64.decode(text),
        }
    }

    /// How the bytes are written on standard output.
    pub(crate) fn encode(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Plain => Cow::Borrowed(bytes),
            Self::Hex => Cow::Owned(HEXLOWER.encode(bytes).into_bytes()),
            Self::Base64 => Cow::Owned(BASE64.encode(bytes).into_bytes()),
        }
    }
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Hex => "hexadecimal",
            Self::Base64 => "base64",
        })
    }
}

/// How `keys` and `scan` write bytes into lines.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listing {
    /// Escaped: a key must not be able to move the cursor of whoever looks at it.
    Escaped,
    Encoded(Encoding),
}

impl Listing {
    /// The listing for whoever reads standard output.
    pub(crate) fn for_stdout(encoding: Encoding) -> Self {
        let terminal = std::io::stdout().is_terminal();
        if terminal && encoding == Encoding::Plain { Self::Escaped } else { Self::Encoded(encoding) }
    }

    pub(crate) fn text(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Escaped => Cow::Owned(escaped(bytes).into_bytes()),
            Self::Encoded(encoding) => encoding.encode(bytes),
        }
    }
}

/// Text that is safe on a terminal and tells all bytes apart: what is printable stays, quotes and backslashes get a
/// backslash, control characters become `\u{1b}`, bytes that are not UTF-8 become `\xff`.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        // `Debug` of a string escapes exactly what must be, and puts quotes around it.
        let quoted = format!("{:?}", chunk.valid());
        text.push_str(quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted));
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The bytes of an argument or a file name: any bytes on Unix, elsewhere only what is UTF-8.
#[cfg(unix)]
pub(crate) fn os_bytes(text: &OsStr) -> Option<Cow<'_, [u8]>> {
    Some(Cow::Borrowed(std::os::unix::ffi::OsStrExt::as_bytes(text)))
}

/// The bytes of an argument or a file name: any bytes on Unix, elsewhere only what is UTF-8.
#[cfg(not(unix))]
pub(crate) fn os_bytes(text: &OsStr) -> Option<Cow<'_, [u8]>> {
    text.to_str().map(|text| Cow::Borrowed(text.as_bytes()))
}

/// The file name that these bytes are, where the system can have it.
#[cfg(unix)]
pub(crate) fn os_name(bytes: &[u8]) -> Option<&OsStr> {
    Some(std::os::unix::ffi::OsStrExt::from_bytes(bytes))
}

/// The file name that these bytes are, where the system can have it.
#[cfg(not(unix))]
pub(crate) fn os_name(bytes: &[u8]) -> Option<&OsStr> {
    std::str::from_utf8(bytes).ok().map(OsStr::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escaped_text_holds_no_control_characters_and_keeps_what_is_printable() {
        assert_eq!(escaped("Grüße/\u{1b}[2J".as_bytes()), "Grüße/\\u{1b}[2J");
        assert_eq!(escaped(b"a\"b\\c\xff\n"), "a\\\"b\\\\c\\xff\\n");
    }

    #[test]
    fn encoded_content_may_be_broken_into_lines() {
        assert_eq!(Encoding::Hex.decode_content("-", b"00\nFF\n".to_vec()).unwrap(), [0, 255]);
        assert_eq!(Encoding::Base64.decode_content("-", b"AA\nEC\n".to_vec()).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn an_argument_in_the_wrong_encoding_is_a_usage_failure_that_names_the_place() {
        let failure = Encoding::Hex.decode_argument("KEY", OsStr::new("0x")).unwrap_err();
        assert_eq!(failure.to_string(), "KEY is not hexadecimal: invalid symbol at 1");
        assert_eq!(failure.exit(), crate::failure::Exit::Usage);
    }

    proptest! {
        #[test]
        fn every_encoding_gives_the_bytes_back(bytes: Vec<u8>) {
            for encoding in [Encoding::Plain, Encoding::Hex, Encoding::Base64] {
                let text = encoding.encode(&bytes).into_owned();
                prop_assert_eq!(&encoding.decode_content("-", text).unwrap(), &bytes);
            }
        }
    }
}

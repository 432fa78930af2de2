//! Riak's keys: bucket type, bucket and key packed into one key of Bitcask, in one of two ways.
//!
//! ```text
//! 2, length of the bucket (2 bytes), bucket, key
//! 3, length of the type (2 bytes), type, length of the bucket (2 bytes), bucket, key
//! 131, then Erlang's external form of {Bucket, Key} or {{Type, Bucket}, Key}, all of them binaries
//! ```
//!
//! The first byte of the newer way is a version of 7 bits, 1, and a bit that tells of a type. Riak moves a store from one
//! way to the other step by step, so both occur side by side and mean the same key.

/// The external form of a term, its version byte in front: a tuple of two, and binaries with lengths of 4 bytes.
const TERM: u8 = 131;
const TUPLE_OF_TWO: [u8; 2] = [104, 2];
const BINARY: u8 = 109;
/// The newer way.
const WITHOUT_TYPE: u8 = 2;
const WITH_TYPE: u8 = 3;

/// `bucket/key` or `type/bucket/key`, where `/` and `%` inside a part are written `%2F` and `%25`, so that the number of
/// slashes tells the two apart. `None` where it is no key of Riak.
pub(super) fn readable(key: &[u8]) -> Option<Vec<u8>> {
    let parts = split(key)?;
    let mut readable = Vec::with_capacity(key.len());
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            readable.push(b'/');
        }
        for &byte in *part {
            match byte {
                b'/' => readable.extend_from_slice(b"%2F"),
                b'%' => readable.extend_from_slice(b"%25"),
                _ => readable.push(byte),
            }
        }
    }
    Some(readable)
}

/// Type where there is one, bucket, key.
fn split(key: &[u8]) -> Option<Vec<&[u8]>> {
    let (first, rest) = key.split_first()?;
    match *first {
        WITHOUT_TYPE => {
            let (bucket, key) = with_short_length(rest)?;
            Some(vec![bucket, key])
        }
        WITH_TYPE => {
            let (bucket_type, rest) = with_short_length(rest)?;
            let (bucket, key) = with_short_length(rest)?;
            Some(vec![bucket_type, bucket, key])
        }
        TERM => {
            let rest = rest.strip_prefix(&TUPLE_OF_TWO)?;
            let (mut parts, rest) = match rest.strip_prefix(&TUPLE_OF_TWO) {
                Some(rest) => {
                    let (bucket_type, rest) = binary(rest)?;
                    let (bucket, rest) = binary(rest)?;
                    (vec![bucket_type, bucket], rest)
                }
                None => {
                    let (bucket, rest) = binary(rest)?;
                    (vec![bucket], rest)
                }
            };
            let (key, rest) = binary(rest)?;
            parts.push(key);
            rest.is_empty().then_some(parts)
        }
        _ => None,
    }
}

fn with_short_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

fn binary(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.strip_prefix(&[BINARY])?.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(key: &[u8]) -> Option<String> {
        readable(key).map(|readable| String::from_utf8(readable).unwrap())
    }

    #[test]
    fn both_ways_give_the_same_key() {
        // As erlang:term_to_binary({<<"b">>, <<"key">>}) writes it.
        let term = b"\x83\x68\x02\x6d\0\0\0\x01b\x6d\0\0\0\x03key";
        assert_eq!(text(term).unwrap(), "b/key");
        assert_eq!(text(b"\x02\0\x01bkey").unwrap(), "b/key");
        let term = b"\x83\x68\x02\x68\x02\x6d\0\0\0\x01t\x6d\0\0\0\x01b\x6d\0\0\0\x03key";
        assert_eq!(text(term).unwrap(), "t/b/key");
        assert_eq!(text(b"\x03\0\x01t\0\x01bkey").unwrap(), "t/b/key");
    }

    #[test]
    fn slashes_inside_the_parts_are_escaped() {
        assert_eq!(text(b"\x02\0\x03a/bc%d/e").unwrap(), "a%2Fb/c%25d%2Fe");
        assert_eq!(text(b"\x03\0\x01/\0\x01/k").unwrap(), "%2F/%2F/k");
        assert_eq!(readable(b"\x02\0\x01b\xff\0").unwrap(), b"b/\xff\0");
    }

    #[test]
    fn what_is_no_key_of_riak_has_no_readable_form() {
        let wrong: [&[u8]; 11] = [
            b"",
            b"user:1",
            b"\x02",
            b"\x02\0\x02b",
            b"\x03\0\x01t\0\x09b",
            b"\x04\0\x01bk",
            b"\x83",
            b"\x83\x68\x03\x6d\0\0\0\x01b\x6d\0\0\0\x01k",
            b"\x83\x68\x02\x6d\0\0\0\x01b",
            b"\x83\x68\x02\x6d\0\0\0\x01b\x6d\xff\xff\xff\xffk",
            b"\x83\x68\x02\x6d\0\0\0\x01b\x6d\0\0\0\x01k and more",
        ];
        for key in wrong {
            assert_eq!(readable(key), None, "{}", key.escape_ascii());
        }
    }

    /// What [`readable`] did, undone.
    fn parts(readable: &[u8]) -> Vec<Vec<u8>> {
        let unescape = |part: &[u8]| {
            let text = part.iter().map(|&byte| char::from(byte)).collect::<String>();
            text.replace("%2F", "/").replace("%25", "%").chars().map(|c| u8::try_from(c).unwrap()).collect()
        };
        readable.split(|&byte| byte == b'/').map(unescape).collect()
    }

    proptest! {
        #[test]
        fn the_readable_form_gives_the_parts_back(
            bucket_type in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)),
            bucket in proptest::collection::vec(any::<u8>(), 0..9),
            key in "[%/25F\u{0}-\u{ff}]{0,9}",
        ) {
            let len = |part: &[u8]| u16::try_from(part.len()).unwrap().to_be_bytes();
            let front = match &bucket_type {
                Some(name) => [&[3], &len(name)[..], name].concat(),
                None => vec![2],
            };
            let packed = [&front[..], &len(&bucket), &bucket, key.as_bytes()].concat();
            let expected: Vec<Vec<u8>> =
                bucket_type.into_iter().chain([bucket, key.into_bytes()]).collect();
            prop_assert_eq!(parts(&readable(&packed).unwrap()), expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, first in prop_oneof![Just(2_u8), Just(3), Just(131)]) {
            let key = [&[first][..], &bytes].concat();
            prop_assert!(readable(&key).is_none_or(|readable| !readable.is_empty()));
        }
    }
}

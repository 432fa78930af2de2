//! Keys and values as text, hexadecimal, base64 and raw bytes.

use crate::run::{Place, args, bitcask, bitcask_with_input};

#[test]
fn an_encoding_is_of_keys_and_values_wherever_they_are() {
    let place = Place::new();
    let store = place.store();
    bitcask(args!["put", &store, "00ff", "FE0a", "--hex"]).done();
    bitcask(args!["get", &store, "00FF", "--hex"]).done().prints("fe0a\n");
    bitcask(args!["get", &store, "AP8=", "--base64"]).done().prints("/go=\n");
    bitcask(args!["keys", &store, "--hex"]).done().prints("00ff\n");
    bitcask(args!["scan", &store, "--base64"]).done().prints("AP8=\t/go=\n");
    bitcask(args!["scan", &store, "--hex", "--prefix", "00"]).done().prints("00ff\tfe0a\n");
    bitcask(args!["count", &store, "--hex", "--prefix", "01"]).done().prints("0\n");
    bitcask(args!["exists", &store, "00ff", "--hex"]).done();
    bitcask(args!["delete", &store, "00ff", "--hex"]).done();
    bitcask(args!["exists", &store, "00ff", "--hex"]).exits(1);
}

#[test]
fn content_is_decoded_too_and_may_be_broken_into_lines() {
    let place = Place::new();
    let store = place.store();
    bitcask_with_input(args!["put", &store, "6b", "-", "--hex"], b"00 01\nff\n").done();
    bitcask(args!["get", &store, "k"]).done().prints(b"\x00\x01\xff");
    let file = place.write("file", "AAH/\n/w==\n");
    bitcask(args!["put", &store, "aw==", "--base64", "--file", file]).done();
    bitcask(args!["get", &store, "k"]).done().prints(b"\x00\x01\xff\xff");
    let refused = args!["put", &store, "6b", "-", "--hex"];
    bitcask_with_input(refused, b"xyz").exits(4).says("standard input: the value is not hexadecimal");
}

#[test]
fn raw_values_go_with_encoded_keys() {
    let place = Place::new();
    let store = place.store();
    bitcask_with_input(args!["put", &store, "ff", "-", "--hex", "--raw"], b"\xfe\n").done();
    bitcask(args!["get", &store, "ff", "--hex", "--raw"]).done().prints(b"\xfe\n");
    bitcask(args!["get", &store, "ff", "--hex"]).done().prints("fe0a\n");
}

#[cfg(unix)]
#[test]
fn arguments_are_bytes() {
    use std::os::unix::ffi::OsStringExt;
    let place = Place::new();
    let store = place.store();
    let key = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    bitcask(args!["put", &store, &key, "v"]).done();
    bitcask(args!["get", &store, &key]).done().prints("v");
    bitcask(args!["keys", &store]).done().prints(b"\xff\xfe\n");
    bitcask(args!["get", &store, "fffe", "--hex", "--raw"]).done().prints("v");
}

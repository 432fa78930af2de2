//! Runs the `bitcask` command as a user does: arguments in, bytes and an exit code out.
#![cfg(test)]

mod backup;
mod basho;
mod basho_files;
mod batch;
mod bench;
mod clear;
mod compression;
mod convert;
mod encodings;
mod expiry;
mod help;
mod inspect;
mod keys;
mod lines;
mod manual;
mod merge;
mod pipes;
mod real_tree;
mod repair;
mod run;
mod seal_line;
mod tree;
mod watch;

//! What each verb does. This file chooses the verb and opens stores; the verbs do the work.

mod backup;
mod basho;
mod batch;
mod bench;
mod clear;
mod convert;
mod dump;
mod export;
mod get;
mod import;
mod keys;
mod merge;
mod needs_merge;
mod put;
mod repair;
mod restore;
mod scan;
mod seal_line;
mod status;
mod ttl;
mod verify;
mod watch;

use std::path::Path;

use bitcask::{Bitcask, Options};

use crate::cli::Verb;
use crate::failure::{Exit, Failure};

pub(crate) fn run(verb: &Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Put(args) => put::put(args),
        Verb::Delete(args) => put::delete(args),
        Verb::Get(args) => get::get(args),
        Verb::Exists(args) => get::exists(args),
        Verb::Ttl(args) => ttl::ttl(args),
        Verb::Expire(args) => ttl::expire(args),
        Verb::Keys(args) => keys::keys(args),
        Verb::Count(args) => keys::count(args),
        Verb::Scan(args) => scan::scan(args),
        Verb::Import(args) => import::import(args),
        Verb::Export(args) => export::export(args),
        Verb::Batch(args) => batch::batch(args),
        Verb::Watch(args) => watch::watch(args),
        Verb::Status(args) => status::status(args),
        Verb::Verify(args) => verify::verify(args),
        Verb::Dump(args) => dump::dump(args),
        Verb::Merge(args) => merge::merge(args),
        Verb::NeedsMerge(args) => needs_merge::needs_merge(args),
        Verb::Clear(args) => clear::clear(args),
        Verb::Backup(args) => backup::backup(args),
        Verb::Repair(args) => repair::repair(args),
        Verb::SealLine(args) => seal_line::seal_line(args),
        Verb::Restore(args) => restore::restore(args),
        Verb::Convert(args) => convert::convert(args),
        Verb::Bench(args) => bench::bench(args),
    }
}

/// Opens a store to read it; it may be open for writing elsewhere.
fn open_reader(dir: &Path) -> Result<Bitcask, Failure> {
    Ok(bitcask::open(dir, Options::read_only())?)
}

/// Opens a store to write it, lets `work` do so, and closes it, so that whatever `close` has to say is heard. Also
/// when the work failed: what it wrote before stays.
fn with_writer<T>(
    dir: &Path,
    options: Options,
    work: impl FnOnce(&Bitcask) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let store = bitcask::open(dir, options)?;
    let result = work(&store);
    let closed = store.close();
    let done = result?;
    closed?;
    Ok(done)
}

/// A rate, in whole things a second.
fn per_second(count: u64, elapsed: std::time::Duration) -> u64 {
    let rate = u128::from(count) * 1_000_000_000 / elapsed.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// `1 entry`, `2,000 entries`.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", indicatif::HumanCount(count), if count == 1 { one } else { many })
}

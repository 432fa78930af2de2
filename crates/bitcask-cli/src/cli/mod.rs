//! The words of the command line: the verbs with their help, and their arguments.
//!
//! Types only. What a verb does lives under `verbs/`. Arguments stand by families: `key` (the verbs of one key),
//! `listing`, `transfer`, `upkeep`, `bench`. What several families take is in `shared`, the options for writing are in
//! `writing`, and `values` reads what options are set to.

mod bench;
mod key;
mod listing;
mod shared;
mod transfer;
mod upkeep;
mod values;
mod writing;

use clap::{Parser, Subcommand};

pub(crate) use self::bench::BenchArgs;
pub(crate) use self::key::{DeleteArgs, ExpireArgs, GetArgs, KeyArgs, PutArgs};
pub(crate) use self::listing::{ListingArgs, SelectionArgs};
pub(crate) use self::shared::StoreArgs;
pub(crate) use self::transfer::{BatchArgs, ExportArgs, ImportArgs, OtherSide, WatchArgs};
pub(crate) use self::upkeep::{
    BackupArgs, ClearArgs, ConvertArgs, DumpArgs, MergeArgs, RepairArgs, RestoreArgs, SealLineArgs,
};

use crate::log::LogLevel;

const EXIT_CODES: &str = "\
Exit codes:
  0  done (also when the reader of standard output went away)
  1  no: the key is not in the store, or what was asked about is not so
  2  the command line is wrong
  3  damage was found in the store, or in what was imported
  4  any other failure

A KEY or VALUE that begins with a dash comes after `--`: bitcask put ./data -- -key -value";

/// The command line of the Bitcask key/value store.
///
/// A store is a directory. One process writes it at a time; any number may read it meanwhile.
#[derive(Debug, Parser)]
#[command(name = "bitcask", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Tell on standard error what happens to the store: opens, merges, slow syncs, failures; each level tells more.
    /// There is no progress bar then
    #[arg(long, global = true, value_name = "LEVEL", env = "BITCASK_LOG", hide_env_values = true)]
    pub(crate) log: Option<LogLevel>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Store a value under a key; the store is created when it is missing
    ///
    /// A value from `--file` or standard input is stored byte for byte, its last newline included.
    Put(PutArgs),
    /// Print the value of a key, byte for byte
    ///
    /// A newline follows the value only when standard output is a terminal, or with `--hex`, `--base64` or `--json`.
    /// Exit code 1 when the key is not there.
    Get(GetArgs),
    /// Delete a key; exit code 1 when it was not there
    Delete(DeleteArgs),
    /// Tell by the exit code whether a key is there: 0 or 1; prints nothing
    Exists(KeyArgs),
    /// Print how long a key has to live, or `never` where it does not expire; exit code 1 when it is not there
    Ttl(KeyArgs),
    /// Say when a key is to be absent again, or that it is to stay; exit code 1 when it is not there
    Expire(ExpireArgs),
    /// Print the keys, one a line, in no particular order
    ///
    /// On a terminal, control characters and bytes that are not UTF-8 are escaped; elsewhere they are printed as they
    /// are.
    Keys(ListingArgs),
    /// Print keys and values, one pair a line with a tab between, in no particular order
    ///
    /// On a terminal, control characters and bytes that are not UTF-8 are escaped; elsewhere they are printed as they
    /// are. `--json` prints one object a line, which `import --jsonl` reads.
    Scan(ListingArgs),
    /// Print the number of keys
    Count(SelectionArgs),
    /// Read entries from a file or a directory tree into the store
    ///
    /// The store is created when it is missing. Memory use does not grow with the size of the input. A key that occurs
    /// twice, or is in the store already, takes the later value; so an import that was interrupted is simply run again.
    /// What was imported is on the disk when the command says it is done.
    ///
    /// What has expired already is skipped and counted.
    ///
    /// Of a tree, every regular file is taken. Empty files become empty values. Empty directories, permissions and times
    /// are not kept. Symbolic links and special files are skipped and counted, and so is the store itself.
    Import(ImportArgs),
    /// Write all entries to a file or as a directory tree
    ///
    /// Works while another process writes the store.
    ///
    /// Only JSON Lines have a place for expiries; the others say on standard error how many they left out.
    ///
    /// As a tree, a key that is no safe relative path, that clashes with another one, or whose file exists already is
    /// refused and named; the others are written, and the exit code is 4. Nothing is written outside PATH, and nothing
    /// that exists is changed.
    Export(ExportArgs),
    /// Do several puts and deletes as one: all of them, or none
    ///
    /// JSON Lines say what to do, {"op":"put","key":"...","value":"..."} or {"op":"delete","key":"..."}. Keys, values and
    /// "expires" are spelled as for import; a put may have "ttl" instead, such as "1h 30m". With "if":"absent" or
    /// "if":"present", nothing at all is written unless that holds of the key before the batch; the exit code is then 1.
    /// A key that has a condition must not occur twice; of other keys the last line counts.
    ///
    /// A line that `watch` has printed stands for all of its changes.
    ///
    /// The whole input is read and checked before the store is opened, and is held in memory. The store is created when it
    /// is missing.
    Batch(BatchArgs),
    /// Print every commit as it comes, while another process writes the store
    ///
    /// One line of JSON each, {"position":...,"changes":[{"op":"put","key":"...","value":"..."},...]}: one change, or all
    /// of a batch, spelled as `batch` reads them. The first line has no changes and says where it begins: now, unless
    /// `--from` says otherwise. Give the position of the last line that you have to go on from there.
    ///
    /// A commit comes once it is on the disk: with `--durability interval` up to that interval or a second later. Ends
    /// when the reader of standard output goes away. When merges have dropped some of what was asked for, the exit code is
    /// 4.
    Watch(WatchArgs),
    /// Print what the store holds, file by file
    Status(StoreArgs),
    /// Read and check every byte of the store; changes nothing; exit code 3 when there is damage
    Verify(StoreArgs),
    /// Print the records of one data file, dead ones too, in the order they were written
    Dump(DumpArgs),
    /// Give back the space of dead records, whatever the thresholds
    ///
    /// Every file is merged of which more than a twentieth is dead, and small files are joined. It needs at most one file
    /// of extra space; interrupted, it leaves the store as it was. A file in which a record cannot be read stays as it
    /// is, and is exit code 3.
    Merge(MergeArgs),
    /// Tell by the exit code whether a merge is worth it, 0 or 1, and for each file why
    ///
    /// By the thresholds at which a program that has the store open merges by itself. Merges nothing, but opens the store
    /// for writing: only then is all known that counts.
    NeedsMerge(StoreArgs),
    /// Remove all keys from a store, in one step
    ///
    /// Interrupted, it leaves all keys or none. It does not take longer for many keys.
    Clear(ClearArgs),
    /// Copy the store as it is now to another directory, also while another process writes it
    ///
    /// TARGET is new, empty, or an earlier backup of the same store, which is brought up to date: only what is new is
    /// copied. Until that is done the earlier backup stays as it is. A backup is a store; every verb that only reads works
    /// on it. Complete files are hard links where TARGET is on the same file system: then they take no space, and are
    /// lost with the disk.
    Backup(BackupArgs),
    /// Make a store from a backup, and check every byte of it; exit code 3 when the backup is damaged
    Restore(RestoreArgs),
    /// Tell what is wrong with a store and what could be done; or, when asked, do it
    ///
    /// Without an option nothing is changed, and the exit code is 3 when there is damage. Where there is a backup, restore
    /// it: that is better than any of these.
    Repair(RepairArgs),
    /// List the lines of a text store that were edited by hand, or give them new checksums
    ///
    /// Close the store before it is edited. Without FILE and without `--all` nothing is changed: each line that does not
    /// fit its checksum is listed, with what it says, and the exit code is 3 when there is any. Sealing a line makes what
    /// it says what the store holds, an edit and damage alike. The file as it was is kept as FILE.damaged.
    SealLine(SealLineArgs),
    /// Copy all keys of a store into a new one in another log format, or with other compression
    ///
    /// Values, timestamps and expiries are kept; old values and deleted keys are left behind. The new store is verified.
    Convert(ConvertArgs),
    /// Measure puts, then gets, on this machine
    ///
    /// Fills DIR, which must be new or empty, with a store that stays there afterwards. Keys have 16 bytes and come in
    /// random order; every get finds its key.
    Bench(BenchArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        Cli::command().debug_assert();
    }
}

//! The words of the command line: verbs, arguments, options, and the help that explains them.
//!
//! Types only. What a verb does lives under `verbs/`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bitcask::{Durability, Io, LogFormat, MergeOptions, MergePolicy, OpenMode, Options, PutOptions};
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};

use crate::bytes::Encoding;
use crate::failure::Failure;

/// The sources of an import that `--from-basho` excludes.
const OTHER_SOURCES: [&str; 3] = ["jsonl", "csv", "tree"];

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
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Put(PutArgs),
    Get(GetArgs),
    Delete(DeleteArgs),
    Exists(ExistsArgs),
    Ttl(TtlArgs),
    Expire(ExpireArgs),
    Keys(KeysArgs),
    Scan(ScanArgs),
    Count(CountArgs),
    Import(ImportArgs),
    Export(ExportArgs),
    Status(StatusArgs),
    Verify(VerifyArgs),
    Dump(DumpArgs),
    Merge(MergeArgs),
    NeedsMerge(NeedsMergeArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Repair(RepairArgs),
    Convert(ConvertArgs),
    Bench(BenchArgs),
}

/// Store a value under a key; the store is created when it is missing
///
/// A value from `--file` or standard input is stored byte for byte, its last newline included.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    /// The value; `-` reads it from standard input
    #[arg(allow_negative_numbers = true, required_unless_present = "file")]
    pub(crate) value: Option<OsString>,
    /// Take the value from this file instead; `-` is standard input
    #[arg(long, value_name = "PATH", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
    /// Let the key be absent again after this time, such as 90s or `1h 30m`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Let the key be absent from this moment on, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339, conflicts_with = "ttl")]
    pub(crate) expires_at: Option<SystemTime>,
    /// Only if the key is not in the store; exit code 1 when it is
    #[arg(long, conflicts_with = "if_present")]
    pub(crate) if_absent: bool,
    /// Only if the key is in the store; exit code 1 when it is not
    #[arg(long)]
    pub(crate) if_present: bool,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

impl PutArgs {
    /// What is asked of this one write.
    pub(crate) fn put_options(&self) -> PutOptions {
        let mut options = PutOptions::new();
        if let Some(ttl) = self.ttl {
            options = options.expires_in(ttl);
        }
        if let Some(time) = self.expires_at {
            options = options.expires_at(time);
        }
        match (self.if_absent, self.if_present) {
            (true, _) => options.if_absent(),
            (_, true) => options.if_present(),
            _ => options,
        }
    }
}

/// Print the value of a key, byte for byte
///
/// A newline follows the value only when standard output is a terminal, or with `--hex`, `--base64` or `--json`.
/// Exit code 1 when the key is not there.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Delete a key; exit code 1 when it was not there
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

/// Tell by the exit code whether a key is there: 0 or 1; prints nothing
#[derive(Debug, Args)]
pub(crate) struct ExistsArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Print how long a key has to live, or `never` where it does not expire; exit code 1 when it is not there
#[derive(Debug, Args)]
pub(crate) struct TtlArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Say when a key is to be absent again, or that it is to stay; exit code 1 when it is not there
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("when").required(true))]
pub(crate) struct ExpireArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(allow_negative_numbers = true)]
    pub(crate) key: OsString,
    /// After this time, such as 90s or `1h 30m`
    #[arg(group = "when", value_parser = humantime::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// At this moment, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", group = "when", value_parser = humantime::parse_rfc3339)]
    pub(crate) at: Option<SystemTime>,
    /// Not at all
    #[arg(long, group = "when")]
    pub(crate) never: bool,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

/// Print the keys, one a line, in no particular order
///
/// On a terminal, control characters and bytes that are not UTF-8 are escaped; elsewhere they are printed as they are.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) prefix: PrefixArgs,
    /// Stop after so many keys
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Print keys and values, one pair a line with a tab between, in no particular order
///
/// On a terminal, control characters and bytes that are not UTF-8 are escaped; elsewhere they are printed as they are.
/// `--json` prints one object a line, which `import --jsonl` reads.
#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) prefix: PrefixArgs,
    /// Stop after so many keys
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Print the number of keys
#[derive(Debug, Args)]
pub(crate) struct CountArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) prefix: PrefixArgs,
    #[command(flatten)]
    pub(crate) encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Read entries from a file or a directory tree into the store
///
/// The store is created when it is missing. Memory use does not grow with the size of the input. A key that occurs
/// twice, or is in the store already, takes the later value; so an import that was interrupted is simply run again.
/// What was imported is on the disk when the command says it is done.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct ImportArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// JSON Lines, {"key":"...","value":"..."}, with "key64" or "value64" for base64; `-` is standard input
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) jsonl: Option<PathBuf>,
    /// CSV (RFC 4180) with a header line of key, value, key64, value64 in any order; `-` is standard input
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) csv: Option<PathBuf>,
    /// Every regular file below PATH: its key is the relative path with `/`, its value the content
    ///
    /// Empty files become empty values. Empty directories, permissions and times are not kept. Symbolic links and
    /// special files are skipped and counted, and so is the store itself.
    #[arg(long, value_name = "PATH", group = "source")]
    pub(crate) tree: Option<PathBuf>,
    /// The files of Riak's original Bitcask: PATH is one directory of data files, or holds one a partition
    ///
    /// Nothing in PATH is written. Damage is reported place by place, everything else is imported, and the exit code is
    /// 3. Needs up to 100 bytes of memory a key.
    #[arg(long, value_name = "PATH", group = "source")]
    pub(crate) from_basho: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) basho: BashoArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

/// The options of `--from-basho`. They say what they conflict with: `requires` does not hold between members of a group.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --from-basho")]
pub(crate) struct BashoArgs {
    /// Take Riak's keys apart: they become bucket/key or type/bucket/key, with %2F for `/` and %25 for `%` in each part
    #[arg(long, conflicts_with_all = OTHER_SOURCES)]
    pub(crate) riak_keys: bool,
    /// Leave out what was written longer ago, as Riak's setting of the same name does
    #[arg(long, value_name = "SECONDS", conflicts_with_all = OTHER_SOURCES, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) expiry_secs: Option<u64>,
    /// Import although a lock file says that a process has the directory open
    #[arg(long, conflicts_with_all = OTHER_SOURCES)]
    pub(crate) ignore_lock: bool,
    /// Read also the data files that are marked as pending deletion: the marks are not Bitcask's own
    #[arg(long, conflicts_with_all = OTHER_SOURCES)]
    pub(crate) take_pending: bool,
}

/// Write all entries to a file or as a directory tree
///
/// Works while another process writes the store.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(crate) struct ExportArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// JSON Lines, {"key":"...","value":"..."}, with "key64" or "value64" for what is not UTF-8; `-` is standard output
    #[arg(long, value_name = "FILE", group = "target")]
    pub(crate) jsonl: Option<PathBuf>,
    /// CSV (RFC 4180) with the header key,value; columns key64,value64 are added where something is not UTF-8
    #[arg(long, value_name = "FILE", group = "target")]
    pub(crate) csv: Option<PathBuf>,
    /// A file below PATH for every key
    ///
    /// A key that is no safe relative path, that clashes with another one, or whose file exists already is refused and
    /// named; the others are written, and the exit code is 4. Nothing is written outside PATH, and nothing that exists
    /// is changed.
    #[arg(long, value_name = "PATH", group = "target")]
    pub(crate) tree: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Print what the store holds, file by file
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Read and check every byte of the store; changes nothing; exit code 3 when there is damage
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Copy all keys of a store into a new one in another log format
///
/// Values, timestamps and expiries are kept; old values and deleted keys are left behind. The new store is verified.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The store's directory; the store is not changed
    pub(crate) dir: PathBuf,
    /// The new store's directory, which is empty or not there yet
    pub(crate) new_dir: PathBuf,
    /// The log format of the new store: `binary`, `json` or `csv`
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    pub(crate) format: LogFormat,
}

/// Print the records of one data file, dead ones too, in the order they were written
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// A data file, such as ./data/0000000001.data
    pub(crate) file: PathBuf,
    /// Show so many bytes of each value
    #[arg(long, value_name = "LEN", default_value_t = 60)]
    pub(crate) width: usize,
    /// Show the bytes of each record's header
    #[arg(long)]
    pub(crate) bytes: bool,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Give back the space of dead records, whatever the thresholds
///
/// Every file is merged of which more than a twentieth is dead, and small files are joined. It needs at most one file of
/// extra space; interrupted, it leaves the store as it was. A file in which a record cannot be read stays as it is, and is
/// exit code 3.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

/// Tell by the exit code whether a merge is worth it, 0 or 1, and for each file why
///
/// By the thresholds at which a program that has the store open merges by itself. Merges nothing, but opens the store for
/// writing: only then is all known that counts.
#[derive(Debug, Args)]
pub(crate) struct NeedsMergeArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Copy the store as it is now to another directory, also while another process writes it
///
/// TARGET is new, empty, or an earlier backup of the same store, which is brought up to date: only what is new is copied.
/// Until that is done the earlier backup stays as it is. A backup is a store; every verb that only reads works on it.
/// Complete files are hard links where TARGET is on the same file system: then they take no space, and are lost with
/// the disk.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// The backup's directory
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Make a store from a backup, and check every byte of it; exit code 3 when the backup is damaged
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup's directory
    pub(crate) backup: PathBuf,
    /// A directory for the store: new or empty
    pub(crate) new_dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Tell what is wrong with a store and what could be done; or, when asked, do it
///
/// Without an option nothing is changed, and the exit code is 3 when there is damage. Where there is a backup, restore it:
/// that is better than any of these.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("how"))]
pub(crate) struct RepairArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// Cut off the unfinished last write that a crash has left, as any verb that writes does
    #[arg(long, group = "how")]
    pub(crate) cut_tail: bool,
    /// Make the hint files anew
    #[arg(long, group = "how")]
    pub(crate) hints: bool,
    /// Make a missing or damaged MANIFEST anew from the data files, or finish a backup that was cut short
    ///
    /// A damaged MANIFEST is kept as MANIFEST.damaged.
    #[arg(long, group = "how")]
    pub(crate) manifest: bool,
    /// Put everything that can still be read into a new store; the damaged one is not changed
    ///
    /// Every stretch that cannot be read is named, and is exit code 3. The absence of a key from the new store proves
    /// nothing, and a key whose deletion cannot be read is back.
    #[arg(long, value_name = "NEW_DIR", group = "how")]
    pub(crate) salvage: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Measure puts, then gets, on this machine
///
/// Fills DIR, which must be new or empty, with a store that stays there afterwards. Keys have 16 bytes and come in
/// random order; every get finds its key.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A directory for the store: new or empty
    pub(crate) dir: PathBuf,
    /// How many keys to put, and how many gets to do [default: 1000000; with `--durability always` 10000 a thread]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: Option<u64>,
    /// The length of each value
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_size)]
    pub(crate) value_size: u64,
    /// How many threads share the work
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: u16,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    #[command(flatten)]
    pub(crate) writer: WriterArgs,
}

/// How keys and values are written.
#[derive(Debug, Args)]
pub(crate) struct EncodingArgs {
    /// Keys and values are hexadecimal, wherever they are read or printed
    #[arg(long, conflicts_with = "base64")]
    pub(crate) hex: bool,
    /// Keys and values are base64, wherever they are read or printed
    #[arg(long)]
    pub(crate) base64: bool,
}

impl EncodingArgs {
    pub(crate) fn encoding(&self) -> Encoding {
        match (self.hex, self.base64) {
            (true, _) => Encoding::Hex,
            (_, true) => Encoding::Base64,
            _ => Encoding::Plain,
        }
    }
}

/// Whether the encoding is of the key alone.
#[derive(Debug, Args)]
pub(crate) struct RawArgs {
    /// `--hex` or `--base64` is of the key alone; the value is taken or printed byte for byte
    #[arg(long)]
    pub(crate) raw: bool,
}

impl RawArgs {
    pub(crate) fn value_encoding(&self, encoding: Encoding) -> Encoding {
        if self.raw { Encoding::Plain } else { encoding }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PrefixArgs {
    /// Only keys that begin with this
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) prefix: Option<OsString>,
}

impl PrefixArgs {
    /// The bytes of the prefix, none where there is no such argument.
    pub(crate) fn prefix(&self, encoding: Encoding) -> Result<Vec<u8>, Failure> {
        self.prefix
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |prefix| encoding.decode_argument("--prefix", prefix))
    }
}

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The options of every verb that writes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Writing")]
pub(crate) struct WriterArgs {
    /// What survives once a write has returned: `always` power loss; `interval:500ms` process death at once, power loss
    /// after that time (1s where none is given); `os` process death
    #[arg(long, value_name = "LEVEL", default_value = "interval", value_parser = parse_durability)]
    pub(crate) durability: Durability,
    /// The log format of a store that is created: `binary`, `json` or `csv`; a store that exists keeps its own
    #[arg(long, value_name = "FORMAT", default_value = "binary", value_parser = parse_format)]
    pub(crate) format: LogFormat,
    /// How bytes reach the files: `mapped` (where that is safe) or `syscall`
    #[arg(long, value_name = "WAY", default_value = "mapped", value_parser = parse_io)]
    pub(crate) io: Io,
    /// The size at which a new data file is begun
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    pub(crate) max_file_size: u64,
    /// The longest value that is accepted; the format allows 4 GiB - 1
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse_size)]
    pub(crate) max_value_size: u64,
}

impl WriterArgs {
    /// For a verb that is done in a moment: it starts no merge, which it would only cut short.
    pub(crate) fn options(&self, mode: OpenMode) -> Options {
        Options::new()
            .mode(mode)
            .format(self.format)
            .durability(self.durability)
            .io(self.io)
            .max_file_size(self.max_file_size)
            .max_value_size(self.max_value_size)
            .merge(MergeOptions::new().policy(MergePolicy::Never))
    }
}

fn parse_format(text: &str) -> Result<LogFormat, String> {
    let formats = [LogFormat::Binary, LogFormat::Json, LogFormat::Csv];
    let found = formats.into_iter().find(|format| format.name() == text);
    found.ok_or_else(|| "a log format is binary, json or csv".to_owned())
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "always" => Ok(Durability::Always),
        "os" => Ok(Durability::Os),
        "interval" => Ok(Durability::Interval(Duration::from_secs(1))),
        _ => {
            let interval =
                text.strip_prefix("interval:").ok_or("use always, interval, interval:500ms or os")?;
            humantime::parse_duration(interval).map(Durability::Interval).map_err(|error| error.to_string())
        }
    }
}

fn parse_io(text: &str) -> Result<Io, String> {
    match text {
        "mapped" => Ok(Io::Mapped),
        "syscall" => Ok(Io::Syscall),
        _ => Err("use mapped or syscall".to_owned()),
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "use bytes, or a number with a unit such as 256MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durability_is_a_name_or_an_interval() {
        assert_eq!(parse_durability("always"), Ok(Durability::Always));
        assert_eq!(parse_durability("os"), Ok(Durability::Os));
        assert_eq!(parse_durability("interval"), Ok(Durability::Interval(Duration::from_secs(1))));
        assert_eq!(parse_durability("interval:500ms"), Ok(Durability::Interval(Duration::from_millis(500))));
        assert!(parse_durability("interval:").is_err());
        assert!(parse_durability("never").is_err());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("100"), Ok(100));
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("4GiB"), Ok(1 << 32));
        assert!(parse_size("-1").is_err());
        assert!(parse_size("many").is_err());
    }
}

//! `bench`.

use std::path::PathBuf;

use clap::Args;

use super::shared::JsonArgs;
use super::values::parse_size;
use super::writing::WriterArgs;

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

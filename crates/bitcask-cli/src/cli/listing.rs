//! `keys scan count`: many keys at once.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::shared::{EncodingArgs, JsonArgs};
use crate::bytes::Encoding;
use crate::failure::Failure;

/// Which keys of a store.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    /// Only keys that begin with this
    #[arg(long, allow_negative_numbers = true)]
    prefix: Option<OsString>,
    #[command(flatten)]
    encoding: EncodingArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

impl SelectionArgs {
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding.encoding()
    }

    /// The bytes of the prefix, none where there is no such argument.
    pub(crate) fn prefix(&self) -> Result<Vec<u8>, Failure> {
        self.prefix
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |prefix| self.encoding().decode_argument("--prefix", prefix))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListingArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Stop after so many keys
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
}

impl ListingArgs {
    /// For `Iterator::take`.
    pub(crate) fn limit(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

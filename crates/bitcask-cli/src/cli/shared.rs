//! Arguments that verbs of several families take.

use std::path::PathBuf;

use clap::Args;

use crate::bytes::Encoding;
use crate::output::ReportForm;

/// A store, and how to tell what was done or found.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The store's directory
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl JsonArgs {
    pub(crate) fn form(&self) -> ReportForm {
        if self.json { ReportForm::Json } else { ReportForm::Lines }
    }
}

/// How keys and values are written.
#[derive(Debug, Args)]
pub(crate) struct EncodingArgs {
    /// Keys and values are hexadecimal, wherever they are read or printed
    #[arg(long, conflicts_with = "base64")]
    hex: bool,
    /// Keys and values are base64, wherever they are read or printed
    #[arg(long)]
    base64: bool,
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

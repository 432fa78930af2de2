//! `convert`: a store written anew in another log format.

use bitcask::Options;

use super::counted;
use crate::cli::ConvertArgs;
use crate::failure::{Exit, Failure};
use crate::output::Output;

pub(super) fn convert(args: &ConvertArgs) -> Result<Exit, Failure> {
    let count = bitcask::convert(&args.dir, &args.new_dir, Options::new().format(args.format))?;
    let mut output = Output::stdout();
    let (copied, format) = (counted(count, "key", "keys"), args.format.name());
    output.line(format!(
        "copied {copied} to {}, a {format} store, and verified them",
        args.new_dir.display()
    ))?;
    output.finish()?;
    Ok(Exit::Done)
}

//! `convert`: a store written anew, in another log format or with other compression.

use bitcask::Options;

use super::counted;
use crate::cli::ConvertArgs;
use crate::failure::{Exit, Failure};
use crate::output::Output;

pub(super) fn convert(args: &ConvertArgs) -> Result<Exit, Failure> {
    let options = args.compression.choose(Options::new().format(args.format));
    let count = bitcask::convert(&args.dir, &args.new_dir, options)?;
    let mut output = Output::stdout();
    let (copied, format) = (counted(count, "key", "keys"), args.format.name());
    output.line(format!(
        "copied {copied} to {}, a {format} store, and verified them",
        args.new_dir.display()
    ))?;
    output.finish()?;
    Ok(Exit::Done)
}

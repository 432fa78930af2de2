//! `seal-line`: lines of a text store that were edited by hand, listed or given new checksums.

use bitcask::EditedLine;
use serde::Serialize;

use super::counted;
use crate::cli::SealLineArgs;
use crate::failure::{Exit, Failure};
use crate::output::print_report;

#[derive(Serialize)]
struct Report {
    /// What does not fit its checksum, or did not until now.
    lines: Vec<LineReport>,
    sealed: u64,
}

#[derive(Serialize)]
struct LineReport {
    file: String,
    line: u64,
    what: String,
    can_be_sealed: bool,
}

impl From<EditedLine> for LineReport {
    fn from(edited: EditedLine) -> Self {
        let EditedLine { file, line, what, can_be_sealed, .. } = edited;
        Self { file, line, what, can_be_sealed }
    }
}

impl LineReport {
    fn text(&self, outcome: Outcome) -> String {
        let Self { file, line, what, .. } = self;
        match outcome {
            Outcome::Sealed => format!("sealed {file} line {line}: {what}"),
            Outcome::Listed if self.can_be_sealed => format!("{file} line {line}: {what}"),
            Outcome::Listed => format!("{file} line {line} cannot be sealed: {what}"),
        }
    }
}

/// What was done with the lines that are told of.
#[derive(Clone, Copy)]
enum Outcome {
    Listed,
    Sealed,
}

pub(super) fn seal_line(args: &SealLineArgs) -> Result<Exit, Failure> {
    let dir = &args.store.dir;
    let mut sealed = Vec::new();
    let outcome = match &args.file {
        Some(file) => bitcask::seal_lines(dir, file, &args.lines).map(|lines| sealed = lines),
        None => {
            let edited = bitcask::edited_lines(dir)?;
            match edited.iter().find(|line| !line.can_be_sealed) {
                _ if !args.all => return list(args, edited),
                Some(EditedLine { file, line, what, .. }) => {
                    return Err(Failure::Damage(format!(
                        "{file} line {line} cannot be sealed: {what}; nothing was changed"
                    )));
                }
                None => edited.chunk_by(|one, next| one.file == next.file).try_for_each(|lines| {
                    let numbers: Vec<u64> = lines.iter().map(|line| line.line).collect();
                    sealed.extend(bitcask::seal_lines(dir, &lines[0].file, &numbers)?);
                    Ok(())
                }),
            }
        }
    };
    match outcome {
        Err(error) if sealed.is_empty() => Err(error.into()),
        outcome => {
            // What was sealed before a failure stays so.
            print(args, sealed, Outcome::Sealed)?;
            outcome?;
            Ok(Exit::Done)
        }
    }
}

fn list(args: &SealLineArgs, edited: Vec<EditedLine>) -> Result<Exit, Failure> {
    let count = edited.len() as u64;
    print(args, edited, Outcome::Listed)?;
    match count {
        0 => Ok(Exit::Done),
        _ => Err(Failure::Damage(format!(
            "{} not fit: if what they say is right, seal them by name or with --all; otherwise restore a backup",
            counted(count, "line does", "lines do")
        ))),
    }
}

fn print(args: &SealLineArgs, edited: Vec<EditedLine>, outcome: Outcome) -> Result<(), Failure> {
    let lines: Vec<LineReport> = edited.into_iter().map(Into::into).collect();
    let texts = match lines.len() {
        0 => vec!["every line fits its checksum".to_owned()],
        _ => lines.iter().map(|line| line.text(outcome)).collect(),
    };
    let sealed = match outcome {
        Outcome::Listed => 0,
        Outcome::Sealed => lines.len() as u64,
    };
    print_report(args.store.json.form(), &Report { lines, sealed }, texts)
}

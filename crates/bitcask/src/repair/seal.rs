//! Lines of a text store that were edited by hand, sealed again.
//!
//! ```text
//! survey   read the file line by line; refuse unless just the asked-for lines do not check, and each of them makes a record
//!          about a key
//! write    NAME.tmp: the edited lines encoded anew, markers and batch ends with the offsets that hold now, all others as they
//!          are; read it back as recovery does; footer; sync
//! install  the manifest gives up what it says of offsets in the file, and of what supersedes what up to there
//!          keep the file as NAME.damaged; sync the directory
//!          rename NAME.tmp to NAME; sync the directory; remove the hint file
//! ```
//! The name changes hands in one step, so a crash leaves the file as it was edited or as it is sealed. The lines behind a
//! longer or shorter one move. What other files say of offsets in this one then means nothing, and need not: a complete
//! file follows the one before it in the manifest, whatever its link says. So the sealed file gets a footer, also where it
//! had none, and only a file is sealed that the log is known to go on from.

use std::path::Path;
use std::sync::Arc;

use crate::backup::copy::FileCopy;
use crate::error::{Error, Result};
use crate::file::data_file::DataFile;
use crate::file::hint_file::Hints;
use crate::file::layout;
use crate::file::manifest_file;
use crate::file::replace::ReplaceError;
use crate::file::scan::{Scanned, ScannedRecord, ScannedValue, Scanner, display_key};
use crate::format::Defect;
use crate::format::batch::BatchEnd;
use crate::format::codec::{Codec, Record};
use crate::format::footer::{Ending, Footer};
use crate::format::manifest::Manifest;
use crate::format::position::LogPosition;
use crate::format::record::{Kind, RecordHeader};
use crate::format::text::{self, Text};
use crate::keydir::Keydir;
use crate::location::Slot;
use crate::merge::Output;
use crate::progress::{Meter, unwatched};
use crate::recovery;
use crate::recovery::inventory::Inventory;
use crate::repair::sync;
use crate::vfs::os::OsVfs;
use crate::vfs::{self, Access, Dir, DirAccess, Io, Vfs};

/// How much of a line is read at once.
const PIECE: usize = 64 << 10;

/// A line of a text store that does not fit its checksum: one that was edited by hand, or damage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EditedLine {
    /// Name of the file inside the store's directory.
    pub file: String,
    /// The number of the line, from 1.
    pub line: u64,
    /// What it says, such as `the value of key "user:1"`; or, where it cannot be sealed, why.
    pub what: String,
    /// Whether [`seal_lines`] can seal it.
    pub can_be_sealed: bool,
}

/// Lists all lines of the text store in `path` that do not fit their checksums, in log order. Changes nothing and takes no
/// lock.
///
/// # Errors
/// When the directory is no store, its log is binary, its manifest is damaged, or reading fails.
///
/// The example is that of [`seal_lines`].
pub fn edited_lines(path: impl AsRef<Path>) -> Result<Vec<EditedLine>> {
    edited_lines_on(&OsVfs::new(Io::Syscall), path.as_ref())
}

/// [`edited_lines`] on any file system.
pub(crate) fn edited_lines_on(vfs: &dyn Vfs, path: &Path) -> Result<Vec<EditedLine>> {
    let dir = open_dir(vfs, path, DirAccess::ReadOnly)?;
    recovery::until_it_stays(|| {
        let manifest = read_manifest(&*dir, path)?;
        edited_lines_in(&*dir, &manifest)
    })
}

/// The lines of all listed files that do not fit their checksums.
pub(super) fn edited_lines_in(dir: &dyn Dir, manifest: &Manifest) -> Result<Vec<EditedLine>> {
    let mut edited = Vec::new();
    for index in 0..manifest.files.len() {
        match open_file(dir, manifest, index) {
            Ok(file) => edited.extend(Survey::take(&file)?.edited),
            Err(error @ Error::Io { .. }) => return Err(error),
            // What is wrong with the file as a whole is not about lines.
            Err(_) => {}
        }
    }
    Ok(edited)
}

/// Gives the lines with these numbers of one data file of a text store new checksums, and so makes what was written into them
/// by hand what the store holds. Returns what they say.
///
/// All or none are sealed, and only if they are all lines of the file that do not fit: what a whole file says is proven
/// together. A line may have become longer or shorter; its value, its expiry and its key may be others, but not its
/// timestamp. Where the key is another, the key that was there has the value before it, if the log still holds one. The
/// file as it was is kept as `NAME.damaged`. The store must be closed; a read-only handle goes on with the file as it was until
/// it is opened again.
///
/// This makes damage valid just as well as an edit: look at what [`edited_lines`] lists before.
///
/// # Errors
/// [`Error::UnfitTarget`] when the log is binary, there is no such file or line, a line cannot be read as a record about
/// a key, or the file would still not be whole. [`Error::Locked`] when the store is open for writing. Nothing was changed
/// then.
///
/// ```
/// use bitcask::{LogFormat, Options, edited_lines, seal_lines};
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("data");
/// let db = bitcask::open(&path, Options::default().format(LogFormat::Json))?;
/// db.put("user:1", "Ada")?;
/// db.close()?;
///
/// let log = path.join("0000000001.jsonl");
/// let text = std::fs::read_to_string(&log).unwrap();
/// std::fs::write(&log, text.replace("Ada", "Ada Lovelace")).unwrap();
/// assert!(bitcask::open(&path, Options::default()).is_err());
///
/// let edited = edited_lines(&path)?;
/// assert_eq!((edited[0].line, &edited[0].what[..]), (3, "the value of key \"user:1\""));
/// seal_lines(&path, &edited[0].file, &[3])?;
/// let db = bitcask::open(&path, Options::default())?;
/// assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada Lovelace"[..]));
/// # Ok::<(), bitcask::Error>(())
/// ```
pub fn seal_lines(path: impl AsRef<Path>, file: &str, lines: &[u64]) -> Result<Vec<EditedLine>> {
    seal_lines_on(&OsVfs::new(Io::Syscall), path.as_ref(), file, lines)
}

/// [`seal_lines`] on any file system.
pub(crate) fn seal_lines_on(
    vfs: &dyn Vfs,
    path: &Path,
    name: &str,
    lines: &[u64],
) -> Result<Vec<EditedLine>> {
    let dir = open_dir(vfs, path, DirAccess::ReadWrite)?;
    // Before anything is touched: what is no text store gets no lock file either.
    read_manifest(&*dir, path)?;
    let lock = dir.lock(layout::LOCK).map_err(|source| Error::io("lock", layout::LOCK, source))?;
    let _lock = lock.ok_or_else(|| Error::Locked { path: path.to_owned() })?;
    let manifest = read_manifest(&*dir, path)?;
    let refused = |reason: String| Error::UnfitTarget { path: path.to_owned(), reason };
    let is_named = |id| layout::data(id, manifest.format) == name;
    let index = manifest.files.iter().position(|listed| is_named(listed.id));
    let index = index.ok_or_else(|| refused(format!("the store has no data file {name}")))?;
    let file = open_file(&*dir, &manifest, index)?;
    let survey = Survey::take(&file)?;
    survey.check(lines).map_err(|reason| refused(format!("{name}, {reason}")))?;
    check_end(&*dir, &manifest, index, &survey).map_err(|found| found.or_refused(&refused))?;
    let staged = DataFile::create_staged(&*dir, file.header().clone())?;
    let sealed = write(&file, &staged)
        .and_then(|end| check_written(&*dir, &manifest, index, &survey, &staged, end))
        .and_then(|footer| {
            staged.seal(&footer, footer.last_timestamp)?;
            staged.sync()?;
            Ok(install(&*dir, path, manifest.clone(), index, &file, staged.name())?)
        });
    sealed.map_err(|found| {
        // If it cannot be removed, the next open for writing will.
        let _ = dir.remove(staged.name());
        found.or_refused(&refused)
    })?;
    Ok(survey.edited)
}

/// Why a file is not sealed.
enum Unfit {
    Refused(String),
    Failed(Error),
}

impl Unfit {
    fn or_refused(self, refused: &impl Fn(String) -> Error) -> Error {
        match self {
            Self::Refused(reason) => refused(reason),
            Self::Failed(error) => error,
        }
    }
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn open_dir(vfs: &dyn Vfs, path: &Path, access: DirAccess) -> Result<Arc<dyn Dir>> {
    vfs.open_dir(path, access)
        .map_err(|source| Error::NotAStore { path: path.to_owned(), reason: source.to_string() })
}

/// The manifest of a text store.
fn read_manifest(dir: &dyn Dir, path: &Path) -> Result<Manifest> {
    let manifest = manifest_file::read(dir)?
        .ok_or_else(|| Error::NotAStore { path: path.to_owned(), reason: "it has no MANIFEST".to_owned() })?;
    match manifest.format.syntax() {
        Some(_) => Ok(manifest),
        None => Err(Error::UnfitTarget {
            path: path.to_owned(),
            reason: "its log is binary, and has no lines to be edited".to_owned(),
        }),
    }
}

fn open_file(dir: &dyn Dir, manifest: &Manifest, index: usize) -> Result<Arc<DataFile>> {
    DataFile::open(dir, manifest.files[index].id, &manifest.identity(), Slot::FIRST, Access::Read, 0)
}

/// A line of a data file behind its header.
enum Line<'a> {
    Sound(ScannedRecord<'a>),
    /// It does not fit its checksum. What it says if it is believed all the same.
    Edited {
        number: u64,
        read: Result<Record, Defect>,
    },
}

/// Visits all lines of a text file behind its header.
fn visit(
    file: &DataFile,
    visit: &mut dyn FnMut(Line<'_>) -> std::result::Result<(), Unfit>,
) -> std::result::Result<(), Unfit> {
    let Codec::Text(text) = file.codec() else { return Ok(()) };
    let end = file.file_len()?;
    let mut number = file.line_at(file.first_record()).unwrap_or(1);
    let mut scanner = Scanner::new(file, end)?;
    loop {
        let offset = scanner.offset();
        match scanner.next()? {
            Scanned::End => return Ok(()),
            Scanned::Record(record) => visit(Line::Sound(record))?,
            Scanned::Defect(defect @ (Defect::Newer(_) | Defect::MissingFeature(_))) => {
                return Err(file.defect_at(defect, offset).into());
            }
            Scanned::Defect(Defect::Damaged(_)) => {
                let line = read_line(file, offset, end)?;
                visit(Line::Edited { number, read: text.decode_edited(&line) })?;
                scanner = Scanner::starting_at(file, offset + line.len() as u64, end)?;
            }
        }
        number += 1;
    }
}

/// The line at `offset` with its end; to `end`, or what no line is longer than, where there is none. It grows with what is
/// really in the file.
fn read_line(file: &DataFile, offset: u64, end: u64) -> Result<Vec<u8>> {
    let room = (end - offset).min(Text::LINE_MAX);
    let mut line = Vec::new();
    let mut piece = vec![0; PIECE];
    while (line.len() as u64) < room {
        let at = offset + line.len() as u64;
        let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        file.read(&mut piece[..len], at)?;
        if let Some(line_end) = text::line_len(&piece[..len]) {
            line.extend_from_slice(&piece[..line_end]);
            break;
        }
        line.extend_from_slice(&piece[..len]);
    }
    Ok(line)
}

/// What one file is found to hold.
struct Survey {
    edited: Vec<EditedLine>,
    /// The footer that the file had before it was edited.
    footer: Option<Footer>,
}

impl Survey {
    fn take(file: &DataFile) -> Result<Self> {
        let mut survey = Self { edited: Vec::new(), footer: None };
        let visited = visit(file, &mut |line| {
            match line {
                Line::Edited { number, read } => survey.edited.push(EditedLine {
                    file: file.name().to_owned(),
                    line: number,
                    can_be_sealed: read.is_ok(),
                    what: match read {
                        Ok(record) => summary(&record),
                        Err(defect) => defect.to_string(),
                    },
                }),
                Line::Sound(record) if record.header.kind == Kind::Footer => {
                    let ScannedValue::Whole(payload) = record.value else { return Ok(()) };
                    let footer = Footer::decode(payload);
                    survey.footer = Some(footer.map_err(|defect| file.defect_at(defect, record.offset))?);
                }
                Line::Sound(_) => {}
            }
            Ok(())
        });
        match visited {
            Ok(()) => Ok(survey),
            Err(Unfit::Failed(error)) => Err(error),
            Err(Unfit::Refused(reason)) => Err(Error::corruption(file.name(), 0, reason)),
        }
    }

    /// Whether these are the lines that have to be sealed together, and can be.
    fn check(&self, lines: &[u64]) -> std::result::Result<(), String> {
        if lines.is_empty() {
            return Err("no line was named".to_owned());
        }
        if let Some(line) = lines.iter().find(|&&line| self.edited.iter().all(|edited| edited.line != line)) {
            return Err(format!("line {line}: there is no such line, or it fits its checksum"));
        }
        for edited in &self.edited {
            let line = edited.line;
            if !lines.contains(&line) {
                return Err(format!(
                    "line {line}: it does not fit its checksum either: seal both at once, or mend it"
                ));
            }
            if !edited.can_be_sealed {
                return Err(format!("line {line}: {}", edited.what));
            }
        }
        Ok(())
    }
}

fn summary(record: &Record) -> String {
    let key = display_key(record.key());
    match record.header.kind {
        Kind::Tombstone => format!("the tombstone of key \"{key}\""),
        _ => format!("the value of key \"{key}\""),
    }
}

/// Refuses a file that the log may not go on from. Without a footer its old end is known to nobody, so what its successor
/// says of that cannot be compared; behind a cut only what began after the cut follows.
fn check_end(
    dir: &dyn Dir,
    manifest: &Manifest,
    index: usize,
    survey: &Survey,
) -> std::result::Result<(), Unfit> {
    if let Some(Footer { ending: Ending::Rotated, .. }) = survey.footer {
        return Ok(());
    }
    if index + 1 == manifest.files.len() {
        return Ok(());
    }
    let end = survey.footer.as_ref().map(|footer| footer.data_len);
    match open_file(dir, manifest, index + 1)?.link()? {
        None => Ok(()),
        Some(link) if link.file == manifest.files[index].id && Some(link.offset) == end => Ok(()),
        Some(_) => Err(Unfit::Refused(
            "the store was not closed before it was edited: undo that, open and close the store, and edit it again"
                .to_owned(),
        )),
    }
}

/// Writes all lines but the footer to `staged`; returns where they end.
fn write(file: &DataFile, staged: &Arc<DataFile>) -> std::result::Result<u64, Unfit> {
    let mut output = Output::new(Arc::clone(staged));
    let mut batch_start = None;
    let mut line = Vec::new();
    visit(file, &mut |found| {
        let offset = output.offset();
        let record = match found {
            Line::Edited { read: Ok(record), .. } => {
                note_batch(&record.header, offset, &mut batch_start);
                return Ok(output.append(&record.header, record.key(), record.value())?);
            }
            Line::Edited { number, read: Err(defect) } => {
                return Err(Unfit::Refused(format!("line {number}: {defect}")));
            }
            Line::Sound(record) => record,
        };
        note_batch(&record.header, offset, &mut batch_start);
        match (record.header.kind, &record.value) {
            (Kind::Footer, _) => Ok(()),
            (Kind::SyncMarker | Kind::CloseMarker, ScannedValue::Whole(payload))
                if LogPosition::decode(payload).is_some_and(|claim| claim.file == file.id()) =>
            {
                // The whole file is synced before it has its name, so all before the marker is.
                let here = LogPosition { file: file.id(), offset };
                Ok(output.append_log(&record.header, &here.encode())?)
            }
            (Kind::BatchEnd, ScannedValue::Whole(payload)) => {
                let end =
                    BatchEnd::decode(payload).map_err(|defect| file.defect_at(defect, record.offset))?;
                let start = batch_start.take().unwrap_or(end.start);
                Ok(output.append_log(&record.header, &BatchEnd { start, ..end }.encode())?)
            }
            _ => {
                line.resize(usize::try_from(record.len).unwrap_or(usize::MAX), 0);
                file.read(&mut line, record.offset)?;
                Ok(output.extend(&line)?)
            }
        }
    })?;
    output.finish()?;
    Ok(output.offset())
}

/// Keeps where the first record of a batch starts until its end comes.
fn note_batch(header: &RecordHeader, offset: u64, batch_start: &mut Option<u64>) {
    if header.in_batch && header.kind.has_key() {
        batch_start.get_or_insert(offset);
    }
}

/// Reads what was written as recovery does, and refuses what an open would refuse, or what says that more was changed than
/// the lines that were named. Returns the footer.
fn check_written(
    dir: &dyn Dir,
    manifest: &Manifest,
    index: usize,
    survey: &Survey,
    staged: &DataFile,
    end: u64,
) -> std::result::Result<Footer, Unfit> {
    let inventory = Inventory::take(staged, end, &Keydir::new(manifest.secret.0))?;
    if let Some(defect) = inventory.defect.clone() {
        return Err(Unfit::Refused(defect.on_line(staged.line_at(inventory.end)).to_string()));
    }
    let footer = inventory.footer(Ending::Rotated);
    let known = |footer: &Footer| {
        let of_keys = footer.values + footer.tombstones;
        (footer.records, of_keys, footer.first_timestamp, footer.last_timestamp)
    };
    let is_as_before = match &survey.footer {
        Some(before) => known(before) == known(&footer),
        // Nothing but what the file before tells.
        None if index == 0 || footer.first_timestamp == 0 => true,
        None => open_file(dir, manifest, index - 1)?
            .footer()?
            .is_none_or(|before| before.last_timestamp < footer.first_timestamp),
    };
    match is_as_before {
        true => Ok(footer),
        false => Err(Unfit::Refused(
            "a line was added or taken out, or a timestamp changed, which orders the log: undo that"
                .to_owned(),
        )),
    }
}

/// Puts the staged file, which is synced, into the place of `file`.
fn install(
    dir: &dyn Dir,
    path: &Path,
    mut manifest: Manifest,
    index: usize,
    file: &DataFile,
    staged: &str,
) -> Result<()> {
    // Its offset is one of the file as it was.
    manifest.synced = manifest.synced.filter(|claim| claim.file != file.id());
    // A line may be about another key by now, or delete it.
    for listed in &mut manifest.files[..=index] {
        listed.clean = 0;
    }
    manifest.generation += 1;
    manifest_file::replace(dir, &manifest).map_err(ReplaceError::into_error)?;
    let kept = layout::damaged(file.name());
    vfs::remove_if_present(dir, &kept).map_err(|source| Error::io("remove", &kept, source))?;
    if dir.link_to(file.name(), dir, &kept).is_err() {
        let copy = FileCopy::of_data(file, file.file_len()?).named(kept);
        copy.run(dir, path, &mut Meter::new(copy.len(), &mut unwatched))?;
    }
    // Without this a power cut could keep the new file's name and lose that of the old one.
    sync(dir)?;
    dir.rename(staged, file.name()).map_err(|source| Error::io("rename", staged, source))?;
    sync(dir)?;
    Hints::remove(dir, file.id())
}

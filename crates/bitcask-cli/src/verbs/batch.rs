//! `batch`: several puts and deletes as one.
//!
//! The input is read to its end before the store is opened: a bad line leaves no trace, and a slow pipe keeps no other
//! writer out.

use std::collections::HashMap;

use bitcask::{Bitcask, Error, OpenMode, PutOptions};
use indicatif::HumanBytes;
use serde::Serialize;

use super::{counted, with_writer};
use crate::bytes::escaped;
use crate::cli::BatchArgs;
use crate::failure::{Exit, Failure};
use crate::formats::{Condition, Input, Lifetime, LineReader, Operation, Operations};
use crate::output::print_report;
use crate::progress::Progress;

/// More than a batch can have: what is longer need not be read to its end.
const MAX_LEN: u64 = 1 << 32;

#[derive(Debug, Default, Serialize)]
struct Report {
    written: bool,
    /// Also those whose place a later line has taken.
    puts: u64,
    deletes: u64,
    /// Of keys and values.
    bytes: u64,
    /// The first line whose condition does not hold.
    unmet_line: Option<u64>,
}

/// The operations that were read, each with the number of its line.
#[derive(Debug, Default)]
struct Plan {
    operations: Vec<(u64, Operation)>,
    /// Where each key stands.
    by_key: HashMap<Vec<u8>, usize>,
    report: Report,
}

/// A condition that does not hold.
struct Unmet {
    line: Option<u64>,
    what: String,
}

pub(super) fn batch(args: &BatchArgs) -> Result<Exit, Failure> {
    let mut reader = LineReader::new(Input::open(&args.file)?, args.writer.max_value_size);
    let plan = Plan::read(&mut reader, args.writer.max_value_size)?;
    let options = args.writer.options(OpenMode::Create);
    let unmet = with_writer(&args.store.dir, options, |store| plan.commit(store))?;
    let report = Report {
        written: unmet.is_none(),
        unmet_line: unmet.as_ref().and_then(|unmet| unmet.line),
        ..plan.report
    };
    print_report(args.store.json.form(), &report, report.written.then(|| sentence(&report)))?;
    match unmet {
        None => Ok(Exit::Done),
        Some(Unmet { line: Some(line), what }) => {
            Err(Failure::Unmet(format!("{}: {what}", reader.place_of(line))))
        }
        Some(Unmet { line: None, what }) => Err(Failure::Unmet(what)),
    }
}

impl Plan {
    fn read(reader: &mut LineReader, max_value_size: u64) -> Result<Self, Failure> {
        let total = if Progress::is_visible() { reader.total() } else { None };
        let progress = Progress::bytes("reading", total);
        let mut plan = Self::default();
        while let Some(Operations(operations)) = reader.next_object()? {
            let line = reader.line_number();
            let place = || reader.place_of(line);
            for operation in operations {
                check(&operation, max_value_size)
                    .map_err(|source| Failure::EngineAt { place: place(), source })?;
                plan.add(line, operation).map_err(|what| Failure::Input { place: place(), what })?;
            }
            progress.set_bytes(reader.position());
        }
        Ok(plan)
    }

    /// Takes an operation, or says what stands against it.
    fn add(&mut self, line: u64, operation: Operation) -> Result<(), String> {
        let report = &mut self.report;
        match &operation.value {
            Some(_) => report.puts += 1,
            None => report.deletes += 1,
        }
        report.bytes += (operation.key.len() + operation.value.as_ref().map_or(0, Vec::len)) as u64;
        if report.bytes > MAX_LEN {
            return Err("a batch has at most 4 GiB, and this one has more: give it in parts".to_owned());
        }
        if let Some(before) = self.by_key.insert(operation.key.clone(), self.operations.len()) {
            let (before_line, before) = &self.operations[before];
            // The later one takes the place of the earlier one with all that it asks.
            if operation.condition.or(before.condition).is_some() {
                return Err(format!(
                    "the key \"{}\" stands in line {before_line} too, and one with a condition must not occur twice",
                    escaped(&operation.key)
                ));
            }
        }
        self.operations.push((line, operation));
        Ok(())
    }

    /// Writes all, or nothing and says why.
    fn commit(&self, store: &Bitcask) -> Result<Option<Unmet>, Failure> {
        let _spinner = Progress::unknown("writing");
        let mut batch = store.batch();
        for (_, operation) in &self.operations {
            let Operation { key, value, .. } = operation;
            match value {
                Some(value) => batch.put_with(key, value, &options(operation)),
                None => batch.delete_with(key, &options(operation)),
            };
        }
        if batch.commit()? {
            return Ok(None);
        }
        for (line, Operation { key, condition, .. }) in &self.operations {
            let unmet = match condition {
                Some(Condition::Absent) if store.contains(key)? => Failure::Present(escaped(key)),
                Some(Condition::Present) if !store.contains(key)? => Failure::NotFound(escaped(key)),
                _ => continue,
            };
            return Ok(Some(Unmet { line: Some(*line), what: unmet.to_string() }));
        }
        // What stood against it has expired since.
        Ok(Some(Unmet { line: None, what: "a condition did not hold".to_owned() }))
    }
}

/// What the engine would say of it, but without the line.
fn check(operation: &Operation, max_value_size: u64) -> bitcask::Result<()> {
    let key_len = operation.key.len();
    if key_len == 0 || key_len > usize::from(u16::MAX) {
        return Err(Error::KeySize { len: key_len });
    }
    match &operation.value {
        Some(value) if value.len() as u64 > max_value_size => {
            Err(Error::ValueSize { len: value.len(), max: max_value_size })
        }
        _ => Ok(()),
    }
}

fn options(operation: &Operation) -> PutOptions {
    let options = match operation.lifetime {
        Lifetime::Forever => PutOptions::new(),
        Lifetime::For(duration) => PutOptions::new().expires_in(duration),
        Lifetime::Until(time) => PutOptions::new().expires_at(time),
    };
    match operation.condition {
        None => options,
        Some(Condition::Absent) => options.if_absent(),
        Some(Condition::Present) => options.if_present(),
    }
}

fn sentence(report: &Report) -> String {
    format!(
        "wrote {} and {} as one, {}",
        counted(report.puts, "put", "puts"),
        counted(report.deletes, "delete", "deletes"),
        HumanBytes(report.bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_batch_can_hold_is_refused_while_it_is_read() {
        let operation = |key: &[u8]| Operation {
            key: key.to_vec(),
            value: None,
            lifetime: Lifetime::Forever,
            condition: None,
        };
        let mut plan = Plan::default();
        plan.report.bytes = MAX_LEN - 1;
        plan.add(1, operation(b"a")).unwrap();
        assert!(plan.add(2, operation(b"b")).unwrap_err().contains("at most 4 GiB"));
    }
}

//! The engine's figures, and beside them what this machine allows: `cargo bench -p bitcask --bench figures -- COMMAND`.
//!
//! Everything is measured in one run, one process and one directory, so that the ratios hold on a noisy machine too.
//! Values are random bytes unless the command says otherwise, keys are 16 bytes in random order. The directory is
//! removed at the end.

#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot go on has nobody to tell but the terminal"
)]

mod arguments;
mod compression;
mod floors;
mod keys;
mod measure;
mod merge;
mod ops;
mod positioned;
mod sync;
mod throughput;
mod workload;

use arguments::Arguments;

const USAGE: &str = "\
usage: cargo bench -p bitcask --bench figures -- COMMAND [OPTIONS]

  throughput [--keys 5000000] [--value-size 100] [--threads 1] [--io mapped|syscall]
             [--durability interval|os|always]
                        put every key once, then get every key once: time per operation, and the floors
  sync [--threads 1,8,64] [--seconds 3] [--io mapped|syscall]
                        puts that wait for the disk, by count of threads
  keys [--keys 10000000] [--io mapped|syscall]
                        values of 8 bytes: memory per key, and time to open after a close and after a kill
  merge [--mib 5120] [--dead 80] [--rate-mib 0] [--load 20000] [--seconds 20] [--value-size 1000]
                        a store of this size and share of dead bytes is merged under a load of so many puts and gets a
                        second: time, space, and what the load feels, beside the same load alone
  compression [--keys 50000] [--value-size 128,256,512,1000,4000] [--rounds 5]
                        JSON documents of these lengths: bytes stored, and time of puts and gets, by compression
  ops [--keys 100000] [--io mapped|syscall]
                        so many puts and gets and nothing else, for a profiler

options of all: --dir PATH (a fresh directory is made there; default: the system's temporary one)
                --json     (the figures once more, on one line)";

fn main() {
    let mut arguments = Arguments::from_env();
    match arguments.command().as_deref() {
        Some("throughput") => throughput::run(&mut arguments),
        Some("sync") => sync::run(&mut arguments),
        Some("keys") => keys::run(&mut arguments),
        Some("merge") => merge::run(&mut arguments),
        Some("compression") => compression::run(&mut arguments),
        Some("ops") => ops::run(&mut arguments),
        // What `keys` starts as processes of their own.
        Some(keys::REOPEN) => keys::reopen(&mut arguments),
        Some(keys::WRITE_AND_WAIT) => keys::write_and_wait(&mut arguments),
        _ => println!("{USAGE}"),
    }
}

//! Values as they are in real stores, small JSON documents: what each compression makes of them, and what it costs.

use bitcask::{Compression, Durability, Options};

use crate::arguments::Arguments;
use crate::measure::{self, Report};
use crate::workload::{self, mix};

const CHOICES: [(&str, Compression); 5] = [
    ("none", Compression::None),
    ("lz4", Compression::Lz4),
    ("zstd:1", Compression::Zstd { level: 1 }),
    ("zstd:3", Compression::Zstd { level: 3 }),
    ("zstd:9", Compression::Zstd { level: 9 }),
];

pub(crate) fn run(arguments: &mut Arguments) {
    let count = arguments.number("keys", 50_000_u32);
    let rounds = arguments.number("rounds", 5_usize).max(1);
    let sizes = arguments.text("value-size").unwrap_or("128,256,512,1000,4000").to_owned();
    let mut report = Report::new(arguments.has("json"));
    for size in sizes.split(',') {
        let size = size.parse().expect("--value-size has numbers and commas");
        let documents: Vec<String> = (0..count).map(|number| document(number, size)).collect();
        let mean = documents.iter().map(String::len).sum::<usize>() / documents.len().max(1);
        println!("{count} documents of about {mean} bytes, medians of {rounds} rounds");
        for (name, compression) in CHOICES {
            let options = Options::new().durability(Durability::Os).compression(compression).compress_from(0);
            let measured: Vec<_> =
                (0..rounds).map(|_| measure(arguments, options.clone(), &documents)).collect();
            let median = |figure: fn(&Measured) -> f64| {
                let mut figures: Vec<f64> = measured.iter().map(figure).collect();
                figures.sort_by(f64::total_cmp);
                figures[figures.len() / 2]
            };
            report.figure(format!("{size} {name} put"), median(|it| it.put_ns), "ns");
            report.figure(format!("{size} {name} get"), median(|it| it.get_ns), "ns");
            report.figure(format!("{size} {name} stored"), median(|it| it.stored_len), "bytes a value");
        }
    }
    report.finish();
}

struct Measured {
    put_ns: f64,
    get_ns: f64,
    /// The mean.
    stored_len: f64,
}

/// One round: a store of its own, filled and read in random order.
fn measure(arguments: &Arguments, options: Options, documents: &[String]) -> Measured {
    let directory = arguments.directory();
    let db = bitcask::open(directory.path(), options).expect("a store can be made");
    let number = |n: u64| u32::try_from(n).expect("the count is one of 32 bits");
    let count = documents.len() as u64;
    let put_ns = measure::average_ns(count, |n| {
        db.put(workload::key(number(n)), &documents[number(n) as usize]).expect("a put works");
    });
    let order = workload::shuffled(number(count), 3);
    let mut buffer = Vec::new();
    let get_ns = measure::average_ns(count, |n| {
        let number = order[number(n) as usize];
        assert!(db.get_into(workload::key(number), &mut buffer).expect("a get works"));
        assert_eq!(buffer.len(), documents[number as usize].len());
    });
    let stored = |n: u64| db.metadata(workload::key(number(n))).expect("a key can be looked at");
    let stored: u64 = (0..count).filter_map(stored).map(|metadata| metadata.stored_len).sum();
    db.close().expect("the store closes");
    Measured { put_ns, get_ns, stored_len: stored as f64 / count as f64 }
}

const NAMES: [&str; 12] = [
    "Ada", "Grace", "Alan", "Barbara", "Edsger", "Frances", "Donald", "Radia", "Leslie", "Margaret", "Ken",
    "Lynn",
];
const STREETS: [&str; 6] =
    ["Mill Lane", "Harbour Street", "Station Road", "Orchard Way", "Castle Hill", "The Green"];
const WORDS: [&str; 16] = [
    "small", "blue", "steel", "garden", "table", "lamp", "winter", "coffee", "paper", "bicycle", "cotton",
    "large", "kitchen", "wooden", "travel", "bottle",
];

/// The order with this number, of about so many bytes: members whose names repeat, and contents that do not.
fn document(number: u32, len: usize) -> String {
    let mut chance = u64::from(number);
    let mut draw = |below: usize| {
        chance = mix(chance);
        usize::try_from(chance % below as u64).unwrap_or(0)
    };
    let name = NAMES[draw(NAMES.len())];
    let mut text = format!(
        "{{\"id\":{number},\"customer\":\"{name}\",\"email\":\"{}{}@example.com\",\"placed\":\"2026-{:02}-{:02}T{:02}:{:02}:00Z\"",
        name.to_lowercase(),
        draw(1000),
        1 + draw(12),
        1 + draw(28),
        draw(24),
        draw(60)
    );
    if len > 200 {
        text += &format!(
            ",\"address\":{{\"street\":\"{} {}\",\"postcode\":\"{:05}\",\"country\":\"GB\"}},\"paid\":{}",
            1 + draw(200),
            STREETS[draw(STREETS.len())],
            draw(100_000),
            draw(2) == 0
        );
    }
    text += ",\"items\":[";
    loop {
        text += &format!(
            "{{\"sku\":\"{:08x}\",\"title\":\"{} {}\",\"quantity\":{},\"price\":{}.{:02}}}",
            draw(1 << 32),
            WORDS[draw(WORDS.len())],
            WORDS[draw(WORDS.len())],
            1 + draw(5),
            draw(300),
            draw(100)
        );
        if text.len() + 80 > len {
            return text + "]}";
        }
        text.push(',');
    }
}

//! What is compressed comes back, and nothing else passes for it.

use proptest::prelude::*;

use super::*;

const CHOICES: [Compression; 4] = [
    Compression::Lz4,
    Compression::Zstd { level: 1 },
    Compression::Zstd { level: 3 },
    Compression::Zstd { level: 22 },
];

/// Those that this build has.
fn choices() -> impl Iterator<Item = Compression> {
    CHOICES.into_iter().filter(|choice| choice.check().is_ok())
}

fn compressed(choice: Compression, plain: &[u8]) -> Option<(Algorithm, Vec<u8>)> {
    compress(choice, LogFormat::Binary, plain)
}

/// What becomes of `stored` behind other bytes.
fn decompressed(algorithm: Algorithm, stored: &[u8]) -> Result<Vec<u8>, Defect> {
    let mut bytes = [b"front", stored].concat();
    decompress(algorithm, &mut bytes, 5)?;
    assert_eq!(&bytes[..5], b"front");
    Ok(bytes.split_off(5))
}

fn text(len: usize) -> Vec<u8> {
    b"{\"name\":\"Ada\",\"born\":1815},".iter().copied().cycle().take(len).collect()
}

/// Text, noise, or one behind the other.
fn values() -> impl Strategy<Value = Vec<u8>> {
    (0_usize..3000, prop::collection::vec(any::<u8>(), 0..600)).prop_map(|(len, mut noise)| {
        noise.extend(text(len));
        noise
    })
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back_and_is_worth_it(plain in values()) {
        for choice in choices() {
            for (format, stored_per_byte) in [(LogFormat::Binary, 1.0), (LogFormat::Json, 4.0 / 3.0)] {
                let Some((algorithm, stored)) = compress(choice, format, &plain) else { continue };
                prop_assert!(stored.len() as f64 * stored_per_byte <= plain.len() as f64 * 0.875);
                prop_assert_eq!(plain_len(algorithm, &stored), Ok(plain.len()));
                prop_assert_eq!(decompressed(algorithm, &stored), Ok(plain.clone()));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_decompress_to_what_they_say_or_are_refused(stored: Vec<u8>, len in 0_u32..5000) {
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_built()) {
            let stored = [&len.to_le_bytes()[..], &stored].concat();
            match decompressed(algorithm, &stored) {
                Ok(plain) => prop_assert_eq!(plain.len(), usize::try_from(len).unwrap()),
                Err(defect) => prop_assert!(matches!(defect, Defect::Damaged(_)), "{}", defect),
            }
        }
    }
}

#[test]
fn what_repeats_itself_is_compressed_from_some_bytes_on_and_noise_never() {
    for choice in choices() {
        let least = (0..).find(|&len| compressed(choice, &text(len)).is_some()).unwrap();
        assert!((30..100).contains(&least), "{choice:?}: {least}");
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()
        };
        let noise: Vec<u8> = std::iter::repeat_with(next).take(10_000).flatten().collect();
        for len in [1, 7, 256, 80_000] {
            assert_eq!(compressed(choice, &noise[..len]), None, "{choice:?}: {len}");
        }
    }
    assert_eq!(compressed(Compression::None, &text(10_000)), None);
}

#[test]
fn long_values_of_one_byte_come_back() {
    for choice in choices() {
        for len in [64 << 10, (64 << 10) + 1, 128 << 10, (1 << 20) + 1, 9 << 20] {
            let (algorithm, stored) = compressed(choice, &vec![7; len]).unwrap();
            assert_eq!(decompressed(algorithm, &stored), Ok(vec![7; len]), "{choice:?}: {len}");
        }
    }
}

#[test]
fn a_forged_length_is_refused_before_anything_is_allocated() {
    for choice in choices() {
        let (algorithm, stored) = compressed(choice, &text(1000)).unwrap();
        for len in [0_u32, 1, 999, 1001, 5000] {
            let forged = [&len.to_le_bytes()[..], &stored[4..]].concat();
            let mut bytes = forged.clone();
            let refused = decompress(algorithm, &mut bytes, 0).unwrap_err();
            assert!(refused.to_string().contains("does not decompress to its"), "{refused}");
        }
        let forged = [&u32::MAX.to_le_bytes()[..], &stored[4..]].concat();
        let mut bytes = forged.clone();
        let refused = decompress(algorithm, &mut bytes, 0).unwrap_err();
        assert!(refused.to_string().contains("cannot decompress to 4294967295"), "{refused}");
        assert!(bytes == forged && bytes.capacity() < 1 << 20);
        for len in 0..4 {
            assert!(matches!(plain_len(algorithm, &stored[..len]), Err(Defect::Damaged(_))));
        }
    }
}

#[test]
fn an_algorithm_that_is_not_built_is_refused_by_name() {
    for (choice, algorithm) in [(CHOICES[0], Algorithm::Lz4), (CHOICES[1], Algorithm::Zstd)] {
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        assert_eq!(Algorithm::from_number(algorithm.to_number()), Some(algorithm));
        if algorithm.is_built() {
            assert_eq!(choice.check(), Ok(()));
            continue;
        }
        assert!(choice.check().unwrap_err().contains(algorithm.name()));
        let stored = [&[5, 0, 0, 0][..], b"whatever"].concat();
        assert_eq!(decompressed(algorithm, &stored), Err(Defect::MissingFeature(algorithm.name())));
        assert_eq!(plain_len(algorithm, &stored), Ok(5));
    }
}

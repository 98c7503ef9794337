//! Names and keys that nobody can guess, from the kernel.

use std::fs::File;
use std::io::Read as _;

pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut drawn = [0; N];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut drawn)).expect("every Linux has it");
    drawn
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn uuid() -> String {
    let text = hex(&bytes::<16>());
    format!("{}-{}-4{}-a{}-{}", &text[..8], &text[8..12], &text[13..16], &text[17..20], &text[20..])
}

/// Letters and digits, as in tokens.
pub(crate) fn name() -> String {
    hex(&bytes::<12>())
}

//! PostgreSQL's hash functions of bytes and numbers, as its hash partitions and hash indexes have them on disk: they can change no more.
//!
//! Those of a little-endian server. [`super::hash_row::alike`] asks a server whether its are the same.

const fn mix([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    [a, b, c]
}

const fn last([mut a, mut b, mut c]: [u32; 3]) -> u64 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (b as u64) << 32 | c as u64
}

const fn begin(length: u32, seed: u64) -> [u32; 3] {
    let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
    if seed == 0 {
        return [start; 3];
    }
    mix([start.wrapping_add((seed >> 32) as u32), start.wrapping_add(seed as u32), start])
}

fn add(state: [u32; 3], words: &[u8; 12]) -> [u32; 3] {
    let word = |at: usize| u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]);
    [state[0].wrapping_add(word(0)), state[1].wrapping_add(word(4)), state[2].wrapping_add(word(8))]
}

/// `hash_any_extended`.
pub fn bytes(value: &[u8], seed: u64) -> u64 {
    let mut state = begin(value.len() as u32, seed);
    let (whole, rest) = value.as_chunks::<12>();
    for words in whole {
        state = mix(add(state, words));
    }
    // The lowest byte of the third word belongs to the length, so what would be there moves up.
    let mut tail = [0; 12];
    let (low, high) = rest.split_at(rest.len().min(8));
    tail[..low.len()].copy_from_slice(low);
    tail[9..9 + high.len()].copy_from_slice(high);
    last(add(state, &tail))
}

/// `hash_uint32_extended`.
pub fn word(value: u32, seed: u64) -> u64 {
    let [a, b, c] = begin(4, seed);
    last([a.wrapping_add(value), b, c])
}

/// `hashint8extended`: folded so that small numbers are as in the shorter types.
pub fn long(value: i64, seed: u64) -> u64 {
    let high = (value >> 32) as u32;
    word(value as u32 ^ if value >= 0 { high } else { !high }, seed)
}

/// `hash_numeric_extended` of a numeric's binary form; nothing when these bytes are none.
pub fn numeric(sent: &[u8], seed: u64) -> Option<u64> {
    const SPECIAL: u16 = 0xc000;
    let (head, digits) = sent.split_first_chunk::<8>()?;
    let sign = u16::from_be_bytes([head[4], head[5]]);
    if sign & SPECIAL == SPECIAL {
        return Some(seed);
    }
    let (digits, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let Some(first) = digits.iter().position(|d| *d != [0, 0]) else { return Some(seed.wrapping_sub(1)) };
    let end = digits.iter().rposition(|d| *d != [0, 0])? + 1;
    let weight = i64::from(i16::from_be_bytes([head[2], head[3]])) - first as i64;
    Some(digits_hash(&digits[first..end], seed) ^ weight as u64)
}

/// The server keeps its digits the other way round than it sends them.
fn digits_hash(digits: &[[u8; 2]], seed: u64) -> u64 {
    let mut state = begin(2 * digits.len() as u32, seed);
    let (whole, rest) = digits.as_chunks::<6>();
    let turned = |digits: &[[u8; 2]]| {
        let mut words = [0; 12];
        for (pair, [high, low]) in words.as_chunks_mut::<2>().0.iter_mut().zip(digits) {
            *pair = [*low, *high];
        }
        words
    };
    for some in whole {
        state = mix(add(state, &turned(some)));
    }
    let mut tail = turned(rest);
    tail.copy_within(8..11, 9);
    tail[8] = 0;
    last(add(state, &tail))
}

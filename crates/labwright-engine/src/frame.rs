//! Frames on a byte stream: a length in four bytes, then JSON.
//! Knows nothing of what is inside.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// No frame is larger; a length above it is a stream that is not ours.
const MAX_FRAME_BYTES: u32 = 256 << 20;

pub fn write(writer: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).ok().filter(|length| *length <= MAX_FRAME_BYTES);
    let length = length.ok_or_else(|| io::Error::other("a frame over 256 MiB"))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    writer.write_all(&bytes)?;
    writer.flush()
}

/// `None` at the end of the stream, between frames.
pub fn read<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match reader.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => reader.read_exact(&mut length[1..])?,
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut bytes = Vec::new();
    reader.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_one_another_and_end() {
        let mut bytes = Vec::new();
        write(&mut bytes, &"one").unwrap();
        write(&mut bytes, &"two").unwrap();
        let mut stream = &bytes[..];
        assert_eq!(read::<String>(&mut stream).unwrap().as_deref(), Some("one"));
        assert_eq!(read::<String>(&mut stream).unwrap().as_deref(), Some("two"));
        assert_eq!(read::<String>(&mut stream).unwrap(), None);
    }

    #[test]
    fn a_torn_frame_and_a_foreign_stream_are_errors() {
        let mut bytes = Vec::new();
        write(&mut bytes, &"torn").unwrap();
        bytes.pop();
        assert!(read::<String>(&mut &bytes[..]).is_err());
        assert!(read::<String>(&mut &b"Welcome to Debian"[..]).is_err());
    }
}

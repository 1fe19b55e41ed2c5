//! Splits a file's content into blocks.
//!
//! The file is read in chunks on the blocking pool; blocks are taken from the chunk in memory where possible. Nothing
//! is stored for retransmission: a block is read again from its start, so a large window costs no memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::packet::TransferMode;

/// Bytes per read: enough to use the blocking pool rarely, little enough for 512 transfers.
const READ_CHUNK_BYTES: u64 = 128 * 1024;

/// Start of a block in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BlockStart {
    offset: u64,
    /// The second byte of a netascii pair that did not fit into the previous block.
    carried: Option<u8>,
}

/// A file that is being sent.
#[derive(Debug)]
pub(super) struct BlockReader {
    file: Arc<File>,
    length: u64,
    is_text: bool,
    chunk: Vec<u8>,
    chunk_offset: u64,
}

impl BlockReader {
    /// Creates a reader for an open file of `length` bytes, sent in `mode`.
    pub(super) fn new(file: File, length: u64, mode: &TransferMode) -> Self {
        Self {
            file: Arc::new(file),
            length,
            is_text: *mode == TransferMode::Netascii,
            chunk: Vec::new(),
            chunk_offset: 0,
        }
    }

    /// Number of bytes to send, if known: for netascii it is known only after conversion.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        (!self.is_text).then_some(self.length)
    }

    /// Appends the block of `block_bytes` that begins at `start` to `out`; returns the start of the next one.
    ///
    /// The last block is shorter, possibly empty.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when the file cannot be read, or has shrunk.
    pub(super) async fn write_block(
        &mut self,
        start: BlockStart,
        block_bytes: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<BlockStart> {
        let BlockStart { mut offset, mut carried } = start;
        let (file_length, is_text) = (self.length, self.is_text);
        let end = out.len() + block_bytes;
        out.extend(carried.take());
        while out.len() < end && offset < file_length {
            let chunk = self.chunk_from(offset).await?;
            let taken = if is_text {
                let (taken, carry) = write_netascii(chunk, end, out);
                carried = carry;
                taken
            } else {
                let taken = chunk.len().min(end - out.len());
                out.extend_from_slice(chunk.get(..taken).unwrap_or_default());
                taken
            };
            offset += taken as u64;
        }
        Ok(BlockStart { offset, carried })
    }

    /// Returns the loaded bytes from `offset` on, at least one; `offset` is below the file's length.
    async fn chunk_from(&mut self, offset: u64) -> io::Result<&[u8]> {
        let is_loaded = (self.chunk_offset..self.chunk_offset + self.chunk.len() as u64).contains(&offset);
        if !is_loaded {
            let chunk_bytes = READ_CHUNK_BYTES.min(self.length.saturating_sub(offset));
            let file = Arc::clone(&self.file);
            let mut chunk = std::mem::take(&mut self.chunk);
            self.chunk = boot_tree::run_blocking(move || {
                chunk.resize(usize::try_from(chunk_bytes).unwrap_or_default(), 0);
                file.read_exact_at(&mut chunk, offset).map(|()| chunk)
            })
            .await??;
            self.chunk_offset = offset;
        }
        let loaded = usize::try_from(offset - self.chunk_offset).ok().and_then(|skip| self.chunk.get(skip..));
        loaded.filter(|loaded| !loaded.is_empty()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes `text` as netascii until `out` is `end` long; returns how much of `text` was used, and the byte that did not
/// fit.
///
/// Source: RFC 1350 §1 and RFC 764: LF is sent as CR LF, CR as CR NUL.
fn write_netascii(text: &[u8], end: usize, out: &mut Vec<u8>) -> (usize, Option<u8>) {
    for (index, byte) in text.iter().enumerate() {
        if out.len() >= end {
            return (index, None);
        }
        let second = match byte {
            b'\n' => Some(b'\n'),
            b'\r' => Some(0),
            _ => None,
        };
        out.push(if second.is_some() { b'\r' } else { *byte });
        if out.len() >= end {
            return (index + 1, second);
        }
        out.extend(second);
    }
    (text.len(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn body(content: &[u8], mode: &TransferMode) -> BlockReader {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        BlockReader::new(file, content.len() as u64, mode)
    }

    async fn blocks(body: &mut BlockReader, block_bytes: usize) -> Vec<Vec<u8>> {
        let (mut start, mut blocks) = (BlockStart::default(), Vec::new());
        loop {
            let mut block = Vec::new();
            let next = body.write_block(start, block_bytes, &mut block).await.unwrap();
            let mut repeated = Vec::new();
            assert_eq!(body.write_block(start, block_bytes, &mut repeated).await.unwrap(), next);
            assert_eq!(block, repeated, "a block read again is the same block");
            start = next;
            let is_last = block.len() < block_bytes;
            blocks.push(block);
            if is_last {
                return blocks;
            }
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn a_file_of_whole_blocks_ends_with_an_empty_one() {
        let sent = runtime().block_on(blocks(&mut body(b"abcdefgh", &TransferMode::Octet), 4));
        assert_eq!(sent, [&b"abcd"[..], b"efgh", b""]);
        let sent = runtime().block_on(blocks(&mut body(b"", &TransferMode::Octet), 4));
        assert_eq!(sent, [b""]);
    }

    #[test]
    fn netascii_converts_line_ends_also_across_blocks() {
        let sent = runtime().block_on(blocks(&mut body(b"ab\ncd\re\n", &TransferMode::Netascii), 3));
        assert_eq!(sent, [&b"ab\r"[..], b"\ncd", b"\r\0e", b"\r\n"]);
    }

    #[test]
    fn a_file_that_shrank_is_an_error_and_not_a_short_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"short").unwrap();
        let mut body = BlockReader::new(file, 6, &TransferMode::Octet);
        let read = runtime().block_on(body.write_block(BlockStart::default(), 512, &mut Vec::new()));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn concatenated_blocks_are_the_file(
            content in proptest::collection::vec(any::<u8>(), 0..3000), block_bytes in 8_usize..600,
        ) {
            let sent = runtime().block_on(blocks(&mut body(&content, &TransferMode::Octet), block_bytes));
            prop_assert_eq!(sent.concat(), content);
        }

        #[test]
        fn decoded_netascii_is_the_file(
            content in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..800),
            block_bytes in 8_usize..40,
        ) {
            let sent = runtime().block_on(blocks(&mut body(&content, &TransferMode::Netascii), block_bytes)).concat();
            let mut decoded = Vec::new();
            let mut bytes = sent.into_iter();
            while let Some(byte) = bytes.next() {
                match (byte, byte == b'\r') {
                    (_, true) => decoded.push(if bytes.next() == Some(0) { b'\r' } else { b'\n' }),
                    (byte, false) => decoded.push(byte),
                }
            }
            prop_assert_eq!(decoded, content);
        }
    }
}

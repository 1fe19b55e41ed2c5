//! A file's content, cut into blocks.
//!
//! The file is read in pieces on the blocking pool; a block comes from the piece in memory where it can. Nothing is kept
//! for retransmission: a block is made again from the place where it began, so a large window costs no memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::packet::TransferMode;

/// How much is read at once: enough to make the hop to the blocking pool rare, little enough for 512 transfers.
const READ_CHUNK_BYTES: u64 = 128 * 1024;

/// Where in the file a block begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct BlockStart {
    offset: u64,
    /// The second half of a netascii pair that did not fit into the block before.
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
    /// Takes an open file of `length` bytes, to be sent as `mode` says.
    pub(super) fn new(file: File, length: u64, mode: &TransferMode) -> Self {
        Self {
            file: Arc::new(file),
            length,
            is_text: *mode == TransferMode::Netascii,
            chunk: Vec::new(),
            chunk_offset: 0,
        }
    }

    /// How many bytes will be sent, where that is known: netascii shows only while it is written.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        (!self.is_text).then_some(self.length)
    }

    /// Appends the block of `block_bytes` that begins at `place` to `out`; returns where the next one begins.
    ///
    /// The last block is shorter, if need be empty.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] when the file cannot be read, or has become shorter than it was.
    pub(super) async fn write_block(
        &mut self,
        place: BlockStart,
        block_bytes: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<BlockStart> {
        let BlockStart { mut offset, mut carried } = place;
        let (length, is_text) = (self.length, self.is_text);
        let end = out.len() + block_bytes;
        out.extend(carried.take());
        while out.len() < end && offset < length {
            let piece = self.chunk_from(offset).await?;
            let taken = if is_text {
                let (taken, rest) = write_netascii(piece, end, out);
                carried = rest;
                taken
            } else {
                let taken = piece.len().min(end - out.len());
                out.extend_from_slice(piece.get(..taken).unwrap_or_default());
                taken
            };
            offset += taken as u64;
        }
        Ok(BlockStart { offset, carried })
    }

    /// What is in memory from `offset` on, at least one byte; `offset` is below the file's length.
    async fn chunk_from(&mut self, offset: u64) -> io::Result<&[u8]> {
        let is_held = (self.chunk_offset..self.chunk_offset + self.chunk.len() as u64).contains(&offset);
        if !is_held {
            let wanted = READ_CHUNK_BYTES.min(self.length.saturating_sub(offset));
            let file = Arc::clone(&self.file);
            let mut piece = std::mem::take(&mut self.chunk);
            self.chunk = boot_tree::run_blocking(move || {
                piece.resize(usize::try_from(wanted).unwrap_or_default(), 0);
                file.read_exact_at(&mut piece, offset).map(|()| piece)
            })
            .await??;
            self.chunk_offset = offset;
        }
        let held = usize::try_from(offset - self.chunk_offset).ok().and_then(|skip| self.chunk.get(skip..));
        held.filter(|held| !held.is_empty()).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes `text` as netascii until `out` is `end` long; returns how much of `text` was used and what did not fit.
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
        let (mut place, mut blocks) = (BlockStart::default(), Vec::new());
        loop {
            let mut block = Vec::new();
            let next = body.write_block(place, block_bytes, &mut block).await.unwrap();
            let mut again = Vec::new();
            assert_eq!(body.write_block(place, block_bytes, &mut again).await.unwrap(), next);
            assert_eq!(block, again, "a block made again is the same block");
            place = next;
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
        let cut = runtime().block_on(blocks(&mut body(b"abcdefgh", &TransferMode::Octet), 4));
        assert_eq!(cut, [&b"abcd"[..], b"efgh", b""]);
        let cut = runtime().block_on(blocks(&mut body(b"", &TransferMode::Octet), 4));
        assert_eq!(cut, [b""]);
    }

    #[test]
    fn text_has_the_line_ends_of_the_network_also_across_blocks() {
        let cut = runtime().block_on(blocks(&mut body(b"ab\ncd\re\n", &TransferMode::Netascii), 3));
        assert_eq!(cut, [&b"ab\r"[..], b"\ncd", b"\r\0e", b"\r\n"]);
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
        fn blocks_put_together_are_the_file(
            content in proptest::collection::vec(any::<u8>(), 0..3000), block_bytes in 8_usize..600,
        ) {
            let cut = runtime().block_on(blocks(&mut body(&content, &TransferMode::Octet), block_bytes));
            prop_assert_eq!(cut.concat(), content);
        }

        #[test]
        fn netascii_put_together_and_undone_is_the_file(
            content in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..800),
            block_bytes in 8_usize..40,
        ) {
            let cut = runtime().block_on(blocks(&mut body(&content, &TransferMode::Netascii), block_bytes)).concat();
            let mut undone = Vec::new();
            let mut bytes = cut.into_iter();
            while let Some(byte) = bytes.next() {
                match (byte, byte == b'\r') {
                    (_, true) => undone.push(if bytes.next() == Some(0) { b'\r' } else { b'\n' }),
                    (byte, false) => undone.push(byte),
                }
            }
            prop_assert_eq!(undone, content);
        }
    }
}

//! Requests and responses on a stream: one message each way, to the end of the stream, never more than the bound.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use prost::Message;

use crate::wire;

/// The largest request in bytes: what is asked of 256 authors.
pub const LARGEST_REQUEST: u64 = 16 * 1024;
/// The largest response in bytes: a page of a snapshot and its last envelope.
pub const LARGEST_RESPONSE: u64 = 256 * 1024 + 32 * 1024;

/// Reads and writes [`wire::Request`] and [`wire::Response`].
#[derive(Clone, Debug, Default)]
pub struct Codec;

async fn read<M: Message + Default>(io: &mut (impl AsyncRead + Unpin + Send), bound: u64) -> io::Result<M> {
    let mut bytes = Vec::new();
    io.take(bound + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > bound {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than it may be"));
    }
    M::decode(bytes.as_slice()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), message: impl Message) -> io::Result<()> {
    io.write_all(&message.encode_to_vec()).await
}

impl libp2p_request_response::Codec for Codec {
    type Protocol = String;
    type Request = wire::Request;
    type Response = wire::Response;

    async fn read_request<T>(&mut self, _: &String, io: &mut T) -> io::Result<wire::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, LARGEST_REQUEST).await
    }

    async fn read_response<T>(&mut self, _: &String, io: &mut T) -> io::Result<wire::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, LARGEST_RESPONSE).await
    }

    async fn write_request<T>(&mut self, _: &String, io: &mut T, request: wire::Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, request).await
    }

    async fn write_response<T>(&mut self, _: &String, io: &mut T, response: wire::Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, response).await
    }
}

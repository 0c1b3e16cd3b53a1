//! Requests and responses on a stream: one message each way, to the end of the stream, never more than the bound.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::exchange::{LARGEST_REQUEST, LARGEST_RESPONSE, Request, Response};
use crate::message::Malformed;

/// Reads and writes [`Request`] and [`Response`].
#[derive(Clone, Debug, Default)]
pub struct Codec;

async fn read(io: &mut (impl AsyncRead + Unpin + Send), bound: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(bound as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

impl libp2p_request_response::Codec for Codec {
    type Protocol = String;
    /// What came and means nothing must be heard of: a failure to read a request is told to nobody.
    type Request = Result<Request, Malformed>;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &String, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        Ok(Request::decode(&read(io, LARGEST_REQUEST).await?))
    }

    async fn read_response<T>(&mut self, _: &String, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = read(io, LARGEST_RESPONSE).await?;
        Response::decode(&bytes).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))
    }

    async fn write_request<T>(&mut self, _: &String, io: &mut T, request: Self::Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.unwrap_or(Request::Unknown);
        io.write_all(&request.encode()).await
    }

    async fn write_response<T>(&mut self, _: &String, io: &mut T, response: Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&response.encode()).await
    }
}

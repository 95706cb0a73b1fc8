//! Decompression of bodies, for the codings that one of the imitated clients accepts.

use async_compression::{
    tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder},
    zstd::DParameter,
};
use hyper::header::{self, HeaderMap};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::HttpError;
use crate::tracker::reply::MAX_BODY;

/// The largest window of Zstandard, as a power of two: 8 MiB, which RFC 8878 requires of every decoder. A frame may
/// claim a window of gigabytes.
const ZSTD_WINDOW: u32 = 23;

/// Decompresses a body. Neither its length nor its compression makes the result larger than [`MAX_BODY`].
pub(super) async fn decoded(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, HttpError> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = match (codings.next(), codings.next()) {
        (None, _) => return Ok(body),
        (Some(coding), None) => coding.to_str().map_err(|_| HttpError::Broken)?,
        (Some(_), Some(_)) => return Err(HttpError::Broken),
    };
    let bytes = body.as_slice();
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => read(GzipDecoder::new(bytes)).await,
        "deflate" => read(ZlibDecoder::new(bytes)).await,
        "br" => read(BrotliDecoder::new(bytes)).await,
        "zstd" => {
            let bounds = [DParameter::window_log_max(ZSTD_WINDOW)];
            read(ZstdDecoder::with_params(bytes, &bounds)).await
        }
        _ => Err(HttpError::Broken),
    }
}

async fn read(decoder: impl AsyncRead + Unpin) -> Result<Vec<u8>, HttpError> {
    let mut plain = Vec::new();
    // One byte more distinguishes a body that fits from one that does not.
    let mut bounded = decoder.take(MAX_BODY as u64 + 1);
    bounded
        .read_to_end(&mut plain)
        .await
        .map_err(|_| HttpError::Broken)?;
    if plain.len() > MAX_BODY {
        return Err(HttpError::TooLarge);
    }
    Ok(plain)
}

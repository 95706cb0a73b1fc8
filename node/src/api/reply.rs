//! Extractors and answers that all handlers share. Errors are a status and `{"error":{"code","message"}}`.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, rejection},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bitchat_actors::{chat::ChatError, node::NodeError};
use bitchat_wire::event::Picture;
use serde::de::DeserializeOwned;

use crate::error::Failure;

/// An error answer.
#[derive(Debug)]
pub struct Error(pub StatusCode, pub Failure);

impl Error {
    /// 404.
    pub fn not_found(message: &str) -> Self {
        Self(StatusCode::NOT_FOUND, Failure::new("not_found", message))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self(
            StatusCode::BAD_REQUEST,
            Failure::new("bad_request", message),
        )
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        (self.0, Json(self.1.to_json())).into_response()
    }
}

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Self {
        let failure = Failure::from(error);
        let status = match &*failure.code {
            "no_channel" | "no_event" | "no_tracker" => StatusCode::NOT_FOUND,
            "ambiguous" | "dht_off" | "invite_only" | "forked" | "not_text" | "not_yours"
            | "deleted" | "exists" => StatusCode::CONFLICT,
            "bad_file" | "bad_text" | "bad_request" => StatusCode::BAD_REQUEST,
            "disk_full" => StatusCode::INSUFFICIENT_STORAGE,
            "stopping" | "busy" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, failure)
    }
}

impl From<ChatError> for Error {
    fn from(error: ChatError) -> Self {
        NodeError::from(error).into()
    }
}

/// A JSON body; errors in it are answered as JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(e) => Err(refused(e.status(), e.body_text())),
        }
    }
}

/// A body of raw bytes.
pub struct Raw(pub axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match axum::body::Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(e) => Err(refused(e.status(), e.body_text())),
        }
    }
}

/// The query parameters.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(e) => Err(refused(e.status(), e.body_text())),
        }
    }
}

/// The parameter of a path, percent-encoded there: mostly a channel's name or a prefix of its id.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::<String>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(name)) => Ok(Self(name)),
            Err(rejection::PathRejection::FailedToDeserializePathParams(e)) => {
                Err(refused(StatusCode::BAD_REQUEST, e.body_text()))
            }
            Err(e) => Err(refused(e.status(), e.body_text())),
        }
    }
}

/// The two parameters of a path: a channel, and something within it.
pub struct Within(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Within {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        type Two = axum::extract::Path<(String, String)>;
        match Two::from_request_parts(parts, state).await {
            Ok(axum::extract::Path((channel, inner))) => Ok(Self(channel, inner)),
            Err(rejection::PathRejection::FailedToDeserializePathParams(e)) => {
                Err(refused(StatusCode::BAD_REQUEST, e.body_text()))
            }
            Err(e) => Err(refused(e.status(), e.body_text())),
        }
    }
}

fn refused(status: StatusCode, message: String) -> Error {
    let code = if status == StatusCode::PAYLOAD_TOO_LARGE {
        "too_large"
    } else {
        "bad_request"
    };
    Error(status, Failure::new(code, message))
}

/// A picture as an answer, or 404. It is a stranger's file: the headers keep a browser from running anything in it.
pub fn picture(picture: Option<Picture>) -> Result<Response, Error> {
    let picture = picture.ok_or_else(|| Error::not_found("there is no picture"))?;
    let headers = [
        (header::CONTENT_TYPE, picture.kind().media_type()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, picture.bytes().clone()).into_response())
}

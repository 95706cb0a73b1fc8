//! The node in a few figures, and its metrics.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{Api, dto};
use crate::doctor::{Diagnosis, examine};

/// The node in a few figures.
#[utoipa::path(get, path = "/v1/status", tag = "node",
    responses((status = 200, body = dto::Status), (status = 401, body = dto::Problem)))]
pub async fn status(State(api): State<Api>) -> Json<dto::Status> {
    let status = api.node.status().await;
    Json(dto::Status::new(status, api.node.port()))
}

/// What works, what does not, and what to do.
#[utoipa::path(get, path = "/v1/doctor", tag = "node",
    responses((status = 200, body = Diagnosis), (status = 401, body = dto::Problem)))]
pub async fn doctor(State(api): State<Api>) -> Json<Diagnosis> {
    Json(examine(&api.node.status().await))
}

/// The metrics, in the OpenMetrics text format that Prometheus reads.
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"),
        (status = 401, body = dto::Problem)))]
pub async fn metrics(State(api): State<Api>) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        api.node.metrics().encode(),
    )
        .into_response()
}

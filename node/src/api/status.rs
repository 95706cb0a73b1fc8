//! The state of the node, its diagnosis, and its metrics.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::OpenApi;

use super::{Api, Routes};
use crate::{doctor::examine, shapes};

/// The media type of metrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![
        ("/v1/status", &["get"], get(status)),
        ("/v1/doctor", &["get"], get(doctor)),
        ("/metrics", &["get"], get(metrics)),
    ]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(status, doctor, metrics))]
pub struct Document;

/// Returns the state of the node.
#[utoipa::path(get, path = "/v1/status", tag = "node",
    responses((status = 200, body = shapes::Status), (status = 401, body = shapes::Problem)))]
pub async fn status(State(api): State<Api>) -> Json<shapes::Status> {
    let status = api.node.status().await;
    Json(shapes::Status::new(status, api.node.port()))
}

/// Reports what works, what does not, and what to do about it.
#[utoipa::path(get, path = "/v1/doctor", tag = "node",
    responses((status = 200, body = shapes::Diagnosis), (status = 401, body = shapes::Problem)))]
pub async fn doctor(State(api): State<Api>) -> Json<shapes::Diagnosis> {
    Json(examine(&api.node.status().await))
}

/// Returns the metrics in the OpenMetrics text format, which Prometheus reads.
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"),
        (status = 401, body = shapes::Problem)))]
pub async fn metrics(State(api): State<Api>) -> Response {
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        api.node.metrics().encode(),
    )
        .into_response()
}

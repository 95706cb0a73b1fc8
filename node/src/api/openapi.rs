//! The OpenAPI document, put together from the parts of all capabilities.

use axum::{Json, routing::get};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{CAPABILITIES, Routes};

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![("/v1/openapi.json", &["get"], get(document))]
}

/// The document's frame, and its own path.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bit Chat's local API",
        description = "For programs of the node's owner, on loopback. Every request carries `Authorization: Bearer TOKEN` with the token in the home's `api.token`. `{ch}` is a channel's name or a prefix of its id, percent-encoded. Errors are `{\"error\":{\"code\",\"message\"}}`."
    ),
    paths(document),
    modifiers(&Token),
    security(("token" = []))
)]
pub struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        document
            .components
            .get_or_insert_default()
            .add_security_scheme(
                "token",
                SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
            );
    }
}

/// The whole document.
fn whole() -> utoipa::openapi::OpenApi {
    CAPABILITIES
        .iter()
        .fold(Document::openapi(), |whole, (_, part)| {
            whole.merge_from(part())
        })
}

/// Returns this document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "node",
    responses((status = 200, description = "An OpenAPI document")))]
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(whole())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_no_other() {
        let document = serde_json::to_value(whole()).unwrap();
        let described: BTreeSet<String> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                item.as_object()
                    .unwrap()
                    .keys()
                    .map(move |method| format!("{method} {path}"))
            })
            .collect();
        let served: BTreeSet<String> = super::super::all_routes()
            .flat_map(|(path, methods, _)| methods.iter().map(move |m| format!("{m} {path}")))
            .collect();
        assert_eq!(described, served);
    }

    #[test]
    fn every_operation_has_a_summary() {
        let document = serde_json::to_value(whole()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(
                    operation["summary"].is_string(),
                    "{method} {path} has no summary"
                );
            }
        }
    }
}

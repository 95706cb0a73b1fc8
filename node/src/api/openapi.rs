//! The document that describes the API.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use super::{channels, conversation, dht, dto, messages, profile, status, stream, trackers};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bit Chat's local API",
        description = "For programs of a node's owner, on loopback. Every request carries `Authorization: Bearer TOKEN` with the token in the home's `api.token`. `{ch}` is a channel's name or a prefix of its id, percent-encoded. Errors are `{\"error\":{\"code\",\"message\"}}`."
    ),
    paths(
        status::status,
        status::doctor,
        status::metrics,
        dht::show,
        dht::get,
        document,
        channels::list,
        channels::create,
        channels::join,
        channels::info,
        channels::leave,
        channels::file,
        channels::connect,
        channels::members,
        trackers::add,
        trackers::remove,
        trackers::announce,
        messages::page,
        messages::send,
        conversation::show,
        conversation::edit,
        conversation::delete,
        conversation::react,
        conversation::typing,
        conversation::read,
        conversation::search,
        profile::show,
        profile::set,
        profile::picture,
        profile::set_picture,
        profile::remove_picture,
        profile::member_picture,
        stream::events
    ),
    components(schemas(
        dto::Member,
        dto::Message,
        dto::Position,
        dto::DeliveredEvent,
        dto::MemberEvent,
        dto::TypingEvent,
        dto::ForkedEvent
    )),
    modifiers(&Token),
    security(("token" = []))
)]
struct Document;

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

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "node",
    responses((status = 200, description = "An OpenAPI document")))]
pub async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_no_other() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
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
        let served: BTreeSet<String> = super::super::routes()
            .into_iter()
            .flat_map(|(path, methods, _)| methods.iter().map(move |m| format!("{m} {path}")))
            .collect();
        assert_eq!(described, served);
    }

    #[test]
    fn every_operation_says_what_it_does() {
        let document = serde_json::to_value(Document::openapi()).unwrap();
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

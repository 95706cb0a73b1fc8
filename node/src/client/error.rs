//! Why a request has no answer.

use reqwest::{Response, StatusCode};

use super::read;
use crate::{error::Failure, home::Home, shapes::Problem};

/// The largest error answer, in bytes.
const PROBLEM_CAP: usize = 64 * 1024;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// The node refused the request.
    Refused(Failure),
    /// The node could not be reached, or the connection broke before the answer: it may have carried out the request.
    Connection(reqwest::Error),
}

impl Lost {
    /// Converts to what the user sees.
    pub(super) fn explain(self, home: &Home) -> Failure {
        match self {
            Self::Refused(failure) => failure,
            Self::Connection(e) if e.is_timeout() => Failure::new(
                "timeout",
                "the node did not answer in time; it may be busy: try again",
            ),
            Self::Connection(e) if e.is_connect() => Failure::new(
                "no_node",
                format!(
                    "cannot reach the node of this home; if it has stopped, start it with `bitchat{} up`",
                    home.flag()
                ),
            ),
            Self::Connection(_) => Failure::new(
                "no_node",
                format!(
                    "the node closed the connection before it answered; if it has stopped, start it with `bitchat{} up`",
                    home.flag()
                ),
            ),
        }
    }
}

/// The failure when no node runs for this home.
pub fn no_node(home: &Home) -> Failure {
    Failure::new(
        "no_node",
        format!(
            "no node is running for this home; start one with `bitchat{} up`",
            home.flag()
        ),
    )
}

/// Reads an error answer.
pub(super) async fn refusal(response: Response, status: StatusCode) -> Failure {
    let problem = async {
        let bytes = read(response, PROBLEM_CAP).await.ok()?;
        serde_json::from_slice::<Problem>(&bytes).ok()
    };
    match problem.await {
        Some(Problem { error }) => Failure {
            code: error.code.into(),
            message: error.message,
        },
        None => Failure::new("internal", format!("the node answered {status}")),
    }
}

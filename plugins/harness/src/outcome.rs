//! Requests and answers of any stage, as documents.

use dpf_engine::{
    CallError, ChainRequest, CheckRequest, Failure, Fault, Finding, MergeRequest, Plugin, Stage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request of one stage.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Of template-merge.
    Merge(MergeRequest),
    /// Of version-check.
    Check(CheckRequest),
    /// Of chain-builder.
    Chain(ChainRequest),
}

impl Request {
    /// Reads a document. Fields that are left out are empty; unknown ones are an error.
    ///
    /// # Errors
    /// The document is no request of the stage.
    pub fn parse(stage: Stage, document: Value) -> Result<Self, serde_json::Error> {
        Ok(match stage {
            Stage::TemplateMerge => Request::Merge(serde_json::from_value(document)?),
            Stage::VersionCheck => Request::Check(serde_json::from_value(document)?),
            Stage::ChainBuilder => Request::Chain(serde_json::from_value(document)?),
        })
    }

    /// Asks a plugin.
    ///
    /// # Errors
    /// The plugin is at fault.
    pub fn ask(&self, plugin: &Plugin) -> Result<Outcome, Fault> {
        let answer = match self {
            Request::Merge(request) => plugin.merge(request).map(|it| to_value(&*it)),
            Request::Check(request) => plugin.check(request).map(|it| to_value(&*it)),
            Request::Chain(request) => plugin.build_chain(request).map(|it| to_value(&*it)),
        };
        match answer {
            Ok(response) => Ok(Outcome::Response(response)),
            Err(CallError::Failure(failure)) => Ok(Outcome::Failure(failure)),
            Err(CallError::Fault(fault)) => Err(fault),
        }
    }
}

fn to_value(response: impl Serialize) -> Value {
    serde_json::to_value(response).unwrap_or_default()
}

/// How a plugin answers when it is not at fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The result of the stage.
    Response(Value),
    /// The user's input is wrong.
    Failure(Failure),
    /// The settings are wrong, and there was no call.
    Refused(Vec<Finding>),
}

impl Outcome {
    /// The outcome as JSON for people.
    pub fn pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// One word for a table.
    pub fn kind(&self) -> &'static str {
        match self {
            Outcome::Response(_) => "response",
            Outcome::Failure(_) => "failure",
            Outcome::Refused(_) => "refused",
        }
    }
}

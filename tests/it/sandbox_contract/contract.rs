//! The official contract as a judge: an answer must have a declared status, be valid against its schema and hold no
//! field that the schema does not know, or be one of the [`DIFFERENCES`], each with its reason.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::{Value, json};

/// Where real answers differ from the contract, or where the contract is silent.
struct Difference {
    operation: &'static str,
    status: u16,
    /// What the answer is instead.
    instead: Instead,
    why: &'static str,
}

enum Instead {
    /// An answer of this schema.
    Schema(&'static str),
    /// The declared schema, but for what is at this pointer.
    But(&'static str),
}

const OBJECTS: Instead = Instead::Schema("JSONAPIErrorResponse");
const STRINGS: Instead = Instead::Schema("APIErrorResponse");

const RECORDED_OBJECTS: &str = "recorded: errors are JSON:API objects, the contract says strings";
const OFFSET_STYLE: &str = "recorded: without page[*] the page is in the offset style";
const NUMBER_STYLE: &str =
    "recorded: with page[*] the page is in the number style, the contract knows the other";
const SILENT: &str = "assumed: the contract has no answer to such a request";

const fn differs(operation: &'static str, status: u16, instead: Instead, why: &'static str) -> Difference {
    Difference { operation, status, instead, why }
}

const DIFFERENCES: &[Difference] = &[
    differs("ListTeamConnections", 200, Instead::But("/meta/page"), OFFSET_STYLE),
    differs("ListTeamConnections", 400, OBJECTS, RECORDED_OBJECTS),
    differs("CreateTeamConnections", 400, OBJECTS, RECORDED_OBJECTS),
    differs("CreateTeamConnections", 409, OBJECTS, RECORDED_OBJECTS),
    differs("DeleteTeamConnections", 400, OBJECTS, RECORDED_OBJECTS),
    differs("DeleteTeamConnections", 404, OBJECTS, "assumed: like the recorded 400 and 409"),
    differs("ListTeams", 200, Instead::But("/meta/pagination"), NUMBER_STYLE),
    differs("ListTeams", 400, OBJECTS, SILENT),
    differs("CreateTeam", 400, STRINGS, SILENT),
    differs("GetTeamMemberships", 200, Instead::But("/meta/pagination"), NUMBER_STYLE),
    differs("GetTeamMemberships", 400, OBJECTS, SILENT),
    differs("CreateTeamMembership", 409, OBJECTS, RECORDED_OBJECTS),
    differs("CreateTeamMembership", 400, STRINGS, "recorded for PATCH: roles are checked"),
    differs("GetUserMemberships", 403, STRINGS, "assumed: credentials are needed here too"),
    differs("ListTeamHierarchyLinks", 200, Instead::But("/meta/page"), OFFSET_STYLE),
    differs("AddTeamHierarchyLink", 404, STRINGS, SILENT),
    differs("AddTeamHierarchyLink", 400, STRINGS, SILENT),
    differs("UpdateTeamPermissionSetting", 400, STRINGS, SILENT),
    differs("GetTeamSync", 400, OBJECTS, SILENT),
    differs("SyncTeams", 400, OBJECTS, SILENT),
];

/// Answers that the sandbox gives only when a fault rule says so.
const ONLY_BY_FAULT: [u16; 2] = [429, 500];

/// The contract, and what was seen of it.
pub(crate) struct Contract {
    /// The OpenAPI document, as JSON Schema understands it.
    pub(crate) document: Value,
    met: Mutex<BTreeSet<(String, u16)>>,
    differed: Mutex<BTreeSet<(&'static str, u16)>>,
}

impl Contract {
    pub(crate) fn load() -> Self {
        let text = std::fs::read_to_string("tests/contract/openapi-subset.yaml").unwrap();
        let mut document = serde_norway::from_str(&text).unwrap();
        translate(&mut document);
        Self { document, met: Mutex::default(), differed: Mutex::default() }
    }

    /// The operation of a path, a literal segment before a parameter.
    fn operation(&self, method: &str, path: &str) -> &Value {
        let asked: Vec<_> = path.split('/').collect();
        let fits = |template: &str| {
            let parts: Vec<_> = template.split('/').collect();
            parts.len() == asked.len()
                && parts.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let found = paths.iter().filter(|(template, _)| fits(template));
        let (_, item) = found.min_by_key(|(template, _)| template.matches('{').count()).unwrap();
        &item[method.to_lowercase()]
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    fn errors(&self, schema: &Value, body: &Value) -> Vec<String> {
        let mut root = schema.clone();
        root["components"] = self.document["components"].clone();
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft201909)
            .should_validate_formats(true)
            .build(&root)
            .unwrap();
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    /// Panics unless the answer is what the contract, or a listed difference, says.
    pub(crate) fn judge(
        &self,
        method: &str,
        path: &str,
        status: u16,
        content_type: Option<&str>,
        body: &Value,
    ) {
        let operation = self.operation(method, path);
        let id = operation["operationId"].as_str().unwrap();
        self.met.lock().unwrap().insert((id.to_owned(), status));
        let declared = operation["responses"].get(status.to_string()).map(|response| self.resolve(response));
        let content = declared.and_then(|response| response["content"].as_object()?.values().next());
        let mut problems = match (declared, content) {
            (None, _) => vec!["the contract has no such status".to_owned()],
            (Some(_), None) => {
                assert_eq!((body, content_type), (&Value::Null, None), "{id} {status} must be empty");
                return;
            }
            (Some(_), Some(content)) => self.errors(&content["schema"], body),
        };
        assert_eq!(content_type, Some("application/vnd.api+json"), "{id} {status}");
        if problems.is_empty() {
            return;
        }
        for difference in DIFFERENCES.iter().filter(|one| one.operation == id && one.status == status) {
            problems = match difference.instead {
                Instead::Schema(name) => {
                    self.errors(&json!({"$ref": format!("#/components/schemas/{name}")}), body)
                }
                Instead::But(pointer) => {
                    let mut rest = body.clone();
                    *rest.pointer_mut(pointer).unwrap() = json!({});
                    self.errors(&content.unwrap()["schema"], &rest)
                }
            };
            if problems.is_empty() {
                self.differed.lock().unwrap().insert((difference.operation, status));
                return;
            }
        }
        panic!("{method} {path} → {id} {status}: {problems:#?}\n{body:#}");
    }

    /// Every declared answer was seen, and every listed difference is one.
    pub(crate) fn all_seen(&self) {
        let met = self.met.lock().unwrap();
        let mut unseen = Vec::new();
        for operation in self.document["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
        {
            let id = operation["operationId"].as_str().unwrap();
            for status in operation["responses"].as_object().unwrap().keys() {
                let status: u16 = status.parse().unwrap();
                // Recorded: the bulk sync is always answered with 204.
                let other_success = (id, status) == ("SyncTeams", 200);
                if !ONLY_BY_FAULT.contains(&status)
                    && !other_success
                    && !met.contains(&(id.to_owned(), status))
                {
                    unseen.push(format!("{id} {status}"));
                }
            }
        }
        assert_eq!(unseen, Vec::<String>::new(), "declared answers that no request got");
        let differed = self.differed.lock().unwrap();
        for difference in DIFFERENCES {
            let Difference { operation, status, why, .. } = difference;
            assert!(
                differed.contains(&(*operation, *status)),
                "{operation} {status} no longer differs ({why})"
            );
        }
    }
}

/// OpenAPI 3.0 to JSON Schema: `nullable` becomes a type, and what a schema does not name is not allowed.
fn translate(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(translate),
        Value::Object(map) => {
            map.values_mut().for_each(translate);
            if map.remove("nullable") == Some(json!(true)) {
                let kind = map["type"].take();
                map.insert("type".to_owned(), json!([kind, "null"]));
                if let Some(Value::Array(choices)) = map.get_mut("enum") {
                    choices.push(Value::Null);
                }
            }
            if map.get("properties").is_some_and(Value::is_object) && map.contains_key("type") {
                map.entry("additionalProperties").or_insert(json!(false));
            }
        }
        _ => {}
    }
}

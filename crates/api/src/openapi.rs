//! The OpenAPI document, made of the table of operations.

use utoipa::ToSchema;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, OpenApi, OpenApiBuilder, Ref, Required,
    ResponseBuilder,
};

use crate::operation::{Answer, Shape};
use crate::{ALL, ErrorBody, Method, Operation, UPGRADE};

/// The OpenAPI document of this API.
#[must_use]
pub fn openapi() -> OpenApi {
    let mut paths = Paths::new();
    let mut schemas = vec![(
        ErrorBody::name().into_owned(),
        <ErrorBody as utoipa::PartialSchema>::schema(),
    )];
    ErrorBody::schemas(&mut schemas);
    for operation in &ALL {
        let method = match operation.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
        };
        paths.add_path_operation(operation.path, vec![method], described(operation));
        let answer = match operation.answer {
            Answer::Json(shape) | Answer::Lines(shape) => Some(shape),
            Answer::Document | Answer::Upgrade => None,
        };
        for shape in operation.request.iter().chain(&answer) {
            (shape.collect)(&mut schemas);
        }
    }
    let info = InfoBuilder::new()
        .title("Roadstead")
        .version(format!("v{}", crate::VERSION))
        .description(Some(
            "The API of the `roads` daemon, on the unix socket `roads.sock` of its user.",
        ));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths)
        .components(Some(
            ComponentsBuilder::new().schemas_from_iter(schemas).build(),
        ))
        .build()
}

fn described(operation: &Operation) -> OperationBuilder {
    let error = ResponseBuilder::new()
        .description("What went wrong.")
        .content("application/json", named(&ErrorBody::name()));
    let described = OperationBuilder::new()
        .operation_id(Some(operation.id))
        .summary(Some(operation.summary))
        .parameters(Some(parameters(operation)))
        .response("default", error.build());
    let success = ResponseBuilder::new().description(operation.summary);
    let described = match operation.answer {
        Answer::Json(shape) => described.response(
            "200",
            success.content("application/json", content(shape)).build(),
        ),
        Answer::Lines(shape) => described.response(
            "200",
            success
                .content("application/x-ndjson", content(shape))
                .build(),
        ),
        Answer::Document => described.response("200", success.build()),
        Answer::Upgrade => described.response(
            "101",
            success
                .description(format!("Upgraded to `{UPGRADE}`."))
                .build(),
        ),
    };
    let body = operation.request.map(|shape| {
        RequestBodyBuilder::new()
            .content("application/json", content(shape))
            .required(Some(Required::True))
            .build()
    });
    described.request_body(body)
}

fn parameters(operation: &Operation) -> Vec<Parameter> {
    let text = || Some(ObjectBuilder::new().schema_type(Type::String).build());
    let in_path = ["app", "service"]
        .into_iter()
        .filter(|name| operation.path.contains(&format!("{{{name}}}")))
        .map(|name| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .schema(text())
                .build()
        });
    let in_query = operation.query.iter().map(|(name, meaning)| {
        ParameterBuilder::new()
            .name(*name)
            .parameter_in(ParameterIn::Query)
            .description(Some(*meaning))
            .schema(text())
            .build()
    });
    in_path.chain(in_query).collect()
}

fn content(shape: Shape) -> Content {
    named(&(shape.name)())
}

fn named(name: &str) -> Content {
    Content::new(Some(Ref::from_schema_name(name)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// Every `$ref` below a value.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_type_that_the_document_names_is_in_it() {
        let document = serde_json::to_value(openapi()).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_is_in_the_document_once() {
        let document = serde_json::to_value(openapi()).unwrap();
        let ids: BTreeSet<_> = ALL.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for operation in ALL {
            let method = match operation.method {
                Method::Get => "get",
                Method::Post => "post",
            };
            let id = &document["paths"][operation.path][method]["operationId"];
            assert_eq!(id, operation.id);
        }
    }
}

//! Images, and the boot config of each by hardware.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, put};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::check_name::check_name;
use super::context::{ApiContext, ApiRoutes};
use super::etag::tagged;
use super::json_body::JsonBody;
use super::problem::Problem;
use crate::boards::store::images;
use crate::boards::{Image, ImageWritten, check_config_name};
use crate::machine::nearest;

/// The routes of this file.
pub(super) fn routes() -> ApiRoutes {
    vec![("/api/v1/images", get(list)), ("/api/v1/images/{name}", put(register).delete(remove))]
}

/// An image as clients send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewImage {
    /// One line for people.
    #[serde(default)]
    about: String,
    /// Hardware type → file in the boot tree's `configs` folder.
    boot_configs: BTreeMap<String, String>,
}

/// `GET /api/v1/images`: all images.
async fn list(State(api): State<Arc<ApiContext>>, headers: HeaderMap) -> Result<Response, Problem> {
    let images = images::list(&mut *api.engine.store().reader().await?).await?;
    Ok(tagged(&headers, &json!({ "images": images })))
}

/// An image after it was registered or changed.
#[derive(Debug, Serialize)]
struct SavedImageView {
    #[serde(flatten)]
    image: Image,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `PUT /api/v1/images/{name}`: registers an image, or changes it.
async fn register(
    State(api): State<Arc<ApiContext>>,
    Path(name): Path<String>,
    JsonBody(NewImage { about, boot_configs }): JsonBody<NewImage>,
) -> Result<(StatusCode, Json<SavedImageView>), Problem> {
    check_name("name", &name)?;
    for (hardware, file) in &boot_configs {
        check_name("hardware", hardware)?;
        check_config_name(file)
            .map_err(|error| Problem::invalid(format!("boot_configs.{hardware}: {error}")))?;
    }
    let image = Image { name, about, boot_configs };
    let ImageWritten { is_new, warnings } = api.boards.put_image(&image).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(SavedImageView { image, warnings })))
}

/// `DELETE /api/v1/images/{name}`: removes an image. Boards that run it are not affected.
async fn remove(State(api): State<Arc<ApiContext>>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    if !name.contains('\0') && api.boards.remove_image(&name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let known = images::list(&mut *api.engine.store().reader().await?).await?;
    let suggestion = nearest(&name, known.iter().map(|image| image.name.as_str()));
    let suggestion = suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    let detail = format!("there is no image {name:?}{suggestion}");
    Err(Problem::new(StatusCode::NOT_FOUND, "no_image", detail))
}

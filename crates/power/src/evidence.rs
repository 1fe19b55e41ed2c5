//! A device's words in the evidence: bounded, and without secrets.

/// The longest part of an answer, in characters, that goes into the evidence.
const MAX_EVIDENCE_CHARS: usize = 200;

/// The device's answer for the evidence. Error pages may repeat the request, including the password.
pub(crate) fn evidence_text(text: &str, secrets: &[String]) -> String {
    let mut text = text.trim().to_owned();
    for secret in secrets {
        text = text.replace(secret, "…");
    }
    match text.char_indices().nth(MAX_EVIDENCE_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

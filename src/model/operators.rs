//! The operators of a model's file, checked before the runtime loads it: an integer division that overflows or divides by zero
//! ends the process, and a trial run with zeros does not find that.
//!
//! Source of the numbers: `onnx.proto3`, of ONNX's IR version 10; of the encoding: Protocol Buffers, "Encoding".

/// The maximum depth of nested graphs.
const MAX_GRAPH_DEPTH: usize = 32;

/// The types of numbers that division cannot overflow in: float, float16, double, bfloat16.
const FLOAT_TYPES: [u64; 4] = [1, 10, 11, 16];

/// The findings.
#[derive(Default)]
struct OperatorFindings {
    takes_integers: bool,
    divides: bool,
    /// Whether there is a remainder of integers: `Mod` without `fmod`.
    has_remainder: bool,
}

/// Refuses a model that divides integers.
///
/// # Errors
///
/// The name of the operator, or that the file is not an ONNX file.
pub(super) fn check(model: &[u8]) -> Result<(), String> {
    let mut found = OperatorFindings::default();
    let parsed = walk(model, &mut |number, field| match (number, field) {
        (7, ProtobufField::Bytes(graph)) => check_graph(graph, true, MAX_GRAPH_DEPTH, &mut found),
        (25, ProtobufField::Bytes(function)) => check_nodes(function, 7, MAX_GRAPH_DEPTH, &mut found),
        _ => Some(()),
    });
    if parsed.is_none() {
        return Err("it is not an ONNX file, or an incomplete one".to_owned());
    }
    let operator = match found {
        OperatorFindings { has_remainder: true, .. } => "Mod",
        OperatorFindings { takes_integers: true, divides: true, .. } => "Div",
        OperatorFindings { .. } => return Ok(()),
    };
    Err(format!(
        "its operator {operator} divides integers, which could crash the server (division by zero, overflow)"
    ))
}

fn check_graph(graph: &[u8], is_outermost: bool, depth: usize, found: &mut OperatorFindings) -> Option<()> {
    check_nodes(graph, 1, depth, found)?;
    if !is_outermost {
        return Some(());
    }
    // GraphProto.input.type.tensor_type.elem_type
    walk(graph, &mut |number, field| {
        let (11, ProtobufField::Bytes(input)) = (number, field) else { return Some(()) };
        walk_into(input, &[2, 1], &mut |tensor| {
            walk(tensor, &mut |number, field| {
                if let (1, ProtobufField::Number(kind)) = (number, field) {
                    found.takes_integers |= !FLOAT_TYPES.contains(&kind);
                }
                Some(())
            })
        })
    })
}

/// Checks the nodes of a graph or a function, which are its fields `node_field`.
fn check_nodes(message: &[u8], node_field: u64, depth: usize, found: &mut OperatorFindings) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    walk(message, &mut |number, field| match field {
        ProtobufField::Bytes(node) if number == node_field => check_node(node, depth, found),
        ProtobufField::Bytes(_) | ProtobufField::Number(_) => Some(()),
    })
}

fn check_node(node: &[u8], depth: usize, found: &mut OperatorFindings) -> Option<()> {
    let (mut is_remainder, mut has_fmod) = (false, false);
    walk(node, &mut |number, field| match (number, field) {
        (4, ProtobufField::Bytes(operator)) => {
            found.divides |= operator == b"Div";
            is_remainder |= operator == b"Mod";
            Some(())
        }
        (5, ProtobufField::Bytes(attribute)) => {
            has_fmod |= is_fmod_set(attribute)?;
            // AttributeProto.g and .graphs
            walk(attribute, &mut |number, field| match (number, field) {
                (6 | 11, ProtobufField::Bytes(graph)) => check_graph(graph, false, depth, found),
                _ => Some(()),
            })
        }
        _ => Some(()),
    })?;
    found.has_remainder |= is_remainder && !has_fmod;
    Some(())
}

fn is_fmod_set(attribute: &[u8]) -> Option<bool> {
    let (mut is_fmod, mut is_set) = (false, false);
    walk(attribute, &mut |number, field| {
        match (number, field) {
            (1, ProtobufField::Bytes(name)) => is_fmod = name == b"fmod",
            (3, ProtobufField::Number(value)) => is_set = value == 1,
            _ => {}
        }
        Some(())
    })?;
    Some(is_fmod && is_set)
}

/// A field of a message; fields of fixed width are skipped.
#[derive(Clone, Copy)]
enum ProtobufField<'m> {
    Number(u64),
    Bytes(&'m [u8]),
}

/// Calls `each` with each field of a message; `None` if the message is malformed.
fn walk(mut message: &[u8], each: &mut dyn FnMut(u64, ProtobufField<'_>) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let field = match tag & 7 {
            0 => ProtobufField::Number(varint(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                ProtobufField::Bytes(bytes)
            }
            width @ (1 | 5) => {
                (_, message) = message.split_at_checked(if width == 1 { 8 } else { 4 })?;
                continue;
            }
            _ => return None,
        };
        each(tag >> 3, field)?;
    }
    Some(())
}

/// Calls `each` with the messages at the end of a path of fields.
fn walk_into(message: &[u8], path: &[u64], each: &mut dyn FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let [first, rest @ ..] = path else { return each(message) };
    walk(message, &mut |number, field| match field {
        ProtobufField::Bytes(inner) if number == *first => walk_into(inner, rest, each),
        ProtobufField::Bytes(_) | ProtobufField::Number(_) => Some(()),
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

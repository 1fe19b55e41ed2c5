//! `predict(model, args.values)` in a condition.
//!
//! The model and the argument must be known before the condition is evaluated: the engine asks, and the answer comes
//! with the stimulus. Evaluation is a lookup, so each call is replaced by a variable.

use cel::common::ast::{CallExpr, Expr, IdedExpr, operators};

use super::super::prediction::ModelQuestion;
use super::ranges::literal_text;

/// The function's name.
pub(super) const PREDICT_FUNCTION: &str = "predict";

/// Returns the question of `call` at `node`, or the fault and its node. `is_args` recognises the event's arguments.
pub(super) fn question<'n>(
    node: &'n IdedExpr,
    call: &'n CallExpr,
    is_args: impl Fn(&IdedExpr) -> bool,
) -> Result<ModelQuestion, (&'n IdedExpr, &'static str)> {
    let (None, [model, values]) = (&call.target, call.args.as_slice()) else {
        return Err((node, "write it like `predict(\"health\", args.values)`"));
    };
    let Some(model) = literal_text(model).filter(|name| !name.is_empty() && !name.contains('\0')) else {
        return Err((model, "the model is named by a text, such as `\"health\"`"));
    };
    let Some(argument) = argument(values, is_args) else {
        return Err((values, "a model judges an argument of the event, such as `args.values`"));
    };
    Ok(ModelQuestion { model: model.to_owned(), argument: argument.to_owned() })
}

/// Returns the argument that `node` refers to: `args.x` or `args['x']`.
fn argument(node: &IdedExpr, is_args: impl Fn(&IdedExpr) -> bool) -> Option<&str> {
    if let Expr::Select(select) = &node.expr {
        return (!select.test && is_args(&select.operand)).then_some(select.field.as_str());
    }
    let Expr::Call(CallExpr { func_name, args, .. }) = &node.expr else { return None };
    match args.as_slice() {
        [operand, key] if func_name == operators::INDEX && is_args(operand) => literal_text(key),
        _ => None,
    }
}

/// Replaces each question of a checked condition by a variable. Its name is the question's text, which is not a name
/// that a condition can contain.
pub(super) fn replace(node: &mut IdedExpr) {
    if let Expr::Call(call) = &node.expr
        && call.func_name == PREDICT_FUNCTION
        && let Ok(asked) = question(node, call, |_| true)
    {
        node.expr = Expr::Ident(asked.to_string());
        return;
    }
    match &mut node.expr {
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(replace),
        Expr::Select(select) => replace(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(replace),
        Expr::Comprehension(comprehension) => {
            for part in [
                &mut comprehension.iter_range,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                replace(part);
            }
        }
        // A checked condition has none of the last three.
        Expr::Ident(_) | Expr::Literal(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}

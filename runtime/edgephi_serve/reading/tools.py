"""Tools and `tool_choice` of a chat request as the runtime takes them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from edgephi_serve.errors import invalid
from edgephi_serve.settings import Limits
from edgephi_serve.wire.chat import ChatRequest, NamedChoice, Tool

Choice = Literal["auto", "none", "required"] | dict[str, Any]


def read_tools(request: ChatRequest, limits: Limits) -> tuple[list[dict[str, Any]] | None, Choice | None]:
    """The tools, and which of them the reply may or must call; None where there are none.

    Raises:
        ApiError: Tools that are no functions, too many or too large ones, or a choice without its tools.
    """
    tools = [_tool(tool, f"tools[{i}]", limits) for i, tool in enumerate(request.tools or ())]
    if len(tools) > limits.tools:
        raise invalid(f"tools has {len(tools)} entries; send {limits.tools} or fewer.", param="tools")
    choice = request.tool_choice
    if not tools:
        if choice in (None, "auto", "none"):
            return None, None
        raise invalid("tool_choice asks for a call, but no tools are given.", param="tool_choice")
    names = [tool["function"]["name"] for tool in tools]
    if isinstance(choice, NamedChoice):
        if choice.function.name not in names:
            raise invalid(
                f"tool_choice names the function {choice.function.name!r:.60}, which is not among the tools.",
                param="tool_choice",
            )
        return tools, {"type": "function", "function": {"name": choice.function.name}}
    return tools, choice or "auto"


def _tool(tool: Tool, where: str, limits: Limits) -> dict[str, Any]:
    if tool.type != "function":
        raise invalid(f"{where}: its type is {tool.type!r:.40}; only functions can be called.", param=f"{where}.type")
    if tool.function is None or not tool.function.name:
        raise invalid(f"{where}: a function with a name is missing.", param=f"{where}.function")
    function = {key: value for key, value in msgspec.structs.asdict(tool.function).items() if value is not None}
    function.pop("strict", None)  # calls are held to their schemas anyway
    if len(msgspec.json.encode(function)) > limits.schema_bytes:
        raise invalid(f"{where} is larger than {limits.schema_bytes:,} bytes.", param=where)
    return {"type": "function", "function": function}

"""Help in groups of options, and errors of usage in one line."""

from __future__ import annotations

import difflib
import re

import click

_GROUPS = {
    "Input": (
        "data", "labels", "label_map", "protocol", "ignore", "bands", "index", "extra",
        "nodata", "page", "assume_crs", "rescale",
        "match", "aoi", "aoi_layer", "bounds", "polygonize.confidence", "report.confidence", "scene", "map", "snap",
        "reference", "teach.field", "reference_layer", "known_only",
    ),
    "Model": ("model", "relearn", "recipe", "classes", "encoder", "encoder_weights", "weights"),
    "Training": ("steps", "minutes", "train.batch_size", "patch_size", "seed"),
    "Superpixels": ("superpixel_size", "compactness", "size", "iterations", "min_size", "smooth"),
    "Output": (
        "out", "confidence", "polygons", "areas", "min_area", "simplify", "polygonize.classes", "field", "sld",
        "legend", "stac", "datetime", "format", "tree", "picture",
        "title", "as_json", "json", "maps", "into", "name", "color", "sheet",
        "suggest.classes", "onnx", "mlm", "apply_names", "apply_colors", "next", "suggestions",
    ),
    "Tiling": ("tile_size", "overlap", "blend", "block_size"),
    "Device": ("device", "precision", "batch_size", "teach.workers"),
    "Engine": (
        "engine", "workers", "threads", "scheduler", "scheduler_file", "tls_ca_file", "tls_cert", "tls_key",
    ),
    "Runs and safety": (
        "dry_run", "overwrite", "resume", "restart", "run", "keep_run", "shards", "shard", "assist", "max_bad",
        "max_pixels", "allow_vrt", "allow_remote",
    ),
}  # fmt: skip
"""Heading -> names of its options. "command.option" takes an option of one command out of the group of its name."""

FEW = 6
"""Up to so many options stand in one list."""


class Command(click.Command):
    """A command whose help shows its options in groups, if they are many."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each group under its heading."""
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (*_GROUPS, "Other")}
        parameters = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        for parameter in parameters:
            record = parameter.get_help_record(ctx)
            if record is not None:
                rows[group_of(self, parameter)].append(record)
        if len(parameters) <= FEW:
            rows = {"Options": [row for group in rows.values() for row in group]}
        for heading, records in rows.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def group_of(command: click.Command, parameter: click.Parameter) -> str:
    """Return the heading under which a command shows an option."""
    names = (f"{command.name}.{parameter.name}", str(parameter.name))
    found = (heading for name in names for heading, members in _GROUPS.items() if name in members)
    return next(found, "Other")


def usage_message(error: click.UsageError) -> str:
    """Return an error of usage as one line: the command, the option, what is wrong, and the way out."""
    context = error.ctx
    where = "" if context is None or context.parent is None else f"{context.info_name}: "
    text = _text(error).rstrip(".")
    return " ".join(f"{where}{text}; {_way_out(error)}".split())


def _text(error: click.UsageError) -> str:
    """What is wrong, with the name of the option as the user types it."""
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{_name(error.param)} is missing"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{_name(error.param)}: {error.message}"
    if isinstance(error, click.NoSuchOption):
        return f"there is no option {error.option_name}"
    # Newer releases of click suggest a name too.
    text = error.format_message().partition(" Did you mean")[0].partition(" (Did you mean")[0].rstrip(".")
    return re.sub(r"^(\w)", lambda first: first[1].lower(), text)


def _name(parameter: click.Parameter) -> str:
    return ", ".join(parameter.opts) if isinstance(parameter, click.Option) else parameter.human_readable_name


def _way_out(error: click.UsageError) -> str:
    """A name that was probably meant, or where the help is."""
    context = error.ctx
    if context is None:
        return "geoseg --help shows what there is"
    wrong, known = "", list[str]()
    if isinstance(error, click.NoSuchOption):
        wrong = error.option_name
        known = [flag for parameter in context.command.get_params(context) for flag in parameter.opts]
    elif isinstance(context.command, click.Group):
        quoted = re.search(r"'([^']*)'", error.message)
        wrong, known = quoted[1] if quoted else "", context.command.list_commands(context)
    close = difflib.get_close_matches(wrong, known, 1, 0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}{context.command_path} --help shows what there is"

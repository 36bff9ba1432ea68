"""The store of Research OS: immutable objects, and refs that a hash-chained journal moves.

The one door: outsiders import from here. Knows nothing of markets, experiments or the terminal.
"""

from rosdb import errors
from rosdb.canonical import decode as decode_value
from rosdb.canonical import encode as encode_value
from rosdb.check import Fault, FileFault, JournalState, Report
from rosdb.collect import Collected, CollectionPlan
from rosdb.disk import create_file, remove_folder, replace_file
from rosdb.facts import flatten
from rosdb.fields import FIELDS
from rosdb.folders import put_files, put_folder, write_blob, write_folder
from rosdb.found_runs import FoundRuns, one_type
from rosdb.instants import parse_instant
from rosdb.journal import Move
from rosdb.layout import FOLDER
from rosdb.leases import SharedLease
from rosdb.objects import Kind, Link, ObjectId, Record, id_of, record_id
from rosdb.refs import (
    DATASETS,
    NAMES,
    NOTES,
    PROMOTIONS,
    REPLAYS,
    RUNS,
    TAGS,
    TRIALS,
    check_label,
    check_run_name,
)
from rosdb.repair import Repaired
from rosdb.run_rows import RunRow
from rosdb.stats import Stats
from rosdb.store import Store
from rosdb.tables import UTF8, WIDTHS, Column, Table, column_array, text_values
from rosdb.transaction import Transaction
from rosdb.trees import MODE_FILE, Entry
from rosdb.trial_rows import TrialColumns

__all__ = [
    "DATASETS",
    "FIELDS",
    "FOLDER",
    "MODE_FILE",
    "NAMES",
    "NOTES",
    "PROMOTIONS",
    "REPLAYS",
    "RUNS",
    "TAGS",
    "TRIALS",
    "UTF8",
    "WIDTHS",
    "Collected",
    "CollectionPlan",
    "Column",
    "Entry",
    "Fault",
    "FileFault",
    "FoundRuns",
    "JournalState",
    "Kind",
    "Link",
    "Move",
    "ObjectId",
    "Record",
    "Repaired",
    "Report",
    "RunRow",
    "SharedLease",
    "Stats",
    "Store",
    "Table",
    "Transaction",
    "TrialColumns",
    "check_label",
    "check_run_name",
    "column_array",
    "create_file",
    "decode_value",
    "encode_value",
    "errors",
    "flatten",
    "id_of",
    "one_type",
    "parse_instant",
    "put_files",
    "put_folder",
    "record_id",
    "remove_folder",
    "replace_file",
    "text_values",
    "write_blob",
    "write_folder",
]

"""Preference data: reading any source and any column convention, cleaning, and exporting."""

from tamis.data.clean import FitCheck
from tamis.data.config import DataConfig
from tamis.data.export import ExportReport, export_pairs
from tamis.data.pairtable import PairTable, pair_ids, read_pairs, select_pairs
from tamis.data.prepare import Prepared, prepare
from tamis.data.read import read_rows
from tamis.data.recognise import all_conventions
from tamis.data.tables import PAIR_SCHEMA, read_dropped, write_dropped, write_pairs

__all__ = [
    "PAIR_SCHEMA",
    "DataConfig",
    "ExportReport",
    "FitCheck",
    "PairTable",
    "Prepared",
    "all_conventions",
    "export_pairs",
    "pair_ids",
    "prepare",
    "read_dropped",
    "read_pairs",
    "read_rows",
    "select_pairs",
    "write_dropped",
    "write_pairs",
]

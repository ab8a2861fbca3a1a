"""What an analysis is shown with, when it begins and when it has answered."""

import json

from stead_controller.aws.ec2.network.network_insights_view import analysis_view, result_text, started_analysis_view
from stead_controller.db.tables import NetworkInsightsAnalysis
from stead_controller.resources.network.network_insights import DescribedAnalysis
from stead_controller.resources.network.reachability.packet import Packet
from stead_controller.resources.network.reachability.verdict import Hop, Verdict
from tests.support.rows import CLOUD, NOW

PACKET = Packet("tcp", "10.0.0.4", "10.0.0.5", ((22, 22),), ((1024, 65535),))


def text(verdict):
    return result_text(CLOUD, "111111111111", verdict)


def test_warnings_are_one_text_or_none():
    assert json.loads(text(Verdict(True, (), warnings=("One.", "Two."))))["WarningMessage"] == "One. Two."
    assert json.loads(text(Verdict(True, ())))["WarningMessage"] is None


def test_hops_are_those_of_a_way_that_leads_there():
    hops = (Hop("eni-00000000000000001", "it begins", PACKET),)
    assert len(json.loads(text(Verdict(True, hops, hops)))["ForwardPathComponents"]) == 1
    assert len(json.loads(text(Verdict(True, hops, hops)))["ReturnPathComponents"]) == 1
    refused = json.loads(text(Verdict(False, hops, hops)))
    assert (refused["ForwardPathComponents"], refused["ReturnPathComponents"]) == ([], [])


def test_what_was_found_is_not_shown_at_the_beginning():
    row = NetworkInsightsAnalysis(
        id="nia-1", path_id="nip-1", started=NOW, status="succeeded", status_message="", path_found=True
    )
    row.result = text(Verdict(True, (), warnings=("One.",)))
    found = DescribedAnalysis(row, "arn:aws:ec2:here::nia-1", ())
    begun = started_analysis_view(found)
    assert begun == {
        "NetworkInsightsAnalysisId": "nia-1",
        "NetworkInsightsAnalysisArn": "arn:aws:ec2:here::nia-1",
        "NetworkInsightsPathId": "nip-1",
        "StartDate": NOW,
        "Tags": [],
        "Status": "running",
    }
    later = analysis_view(found)
    assert (later["Status"], later["NetworkPathFound"], later["WarningMessage"]) == ("succeeded", True, "One.")

"""A conversation with Maya without I/O: inputs and `now_ms` in, actions out.

::

    PhoneSaid ---> PhoneSide ---> Uplink ----> MayaLine ---> SendEvents (Nova Sonic)
                       |                          ^
                       v                     StreamKeeper
    Post <------- Downlink <--- Dialogue <--- NovaSide <--- StreamSaid (Nova Sonic)
                                   |
      Sitting --> Invigilator ---> Examiner ---> Ending ---> AssessmentDesk ---> Save
"""

from gateway.core.conversation.core import Conversation
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.conversation.states import State

__all__ = ["Conversation", "ConversationSettings", "State"]

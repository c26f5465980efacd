"""Accounts and sessions."""

from pydantic import BaseModel, ConfigDict, Field

from platform_api.models.words import Ms, Role


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=128, examples=["operator"])
    password: str = Field(min_length=1, max_length=256)


class Account(BaseModel):
    name: str
    role: Role
    municipality: str | None = Field(description="null: all municipalities")
    language: str


class Session(BaseModel):
    expires_at: Ms
    account: Account


class SignedIn(Session):
    token: str = Field(description="for `Authorization: Bearer`; browsers have the cookie")
